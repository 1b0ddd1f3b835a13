"""Where the dashboard reads from: one protocol (`base`), one module per kind of place."""
