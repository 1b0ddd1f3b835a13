"""Rows: what users' files and tables hold, as values that JSON can hold."""
