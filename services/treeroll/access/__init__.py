"""Who may do what: tokens and their roles, TLS, and the one place that asks for both."""
