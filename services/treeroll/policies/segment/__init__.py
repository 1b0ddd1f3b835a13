"""Segment policies: where a path's segments end."""
