"""Glue to trainers' libraries. Each module needs one of them, and nothing else imports it."""
