"""Programs to copy from: a trainer in plain torch, and what `scripts/demo_train` runs around it."""
