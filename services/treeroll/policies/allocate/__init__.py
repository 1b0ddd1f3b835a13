"""Allocators: how many leaves each task gets."""
