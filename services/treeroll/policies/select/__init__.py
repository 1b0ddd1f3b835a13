"""Choosing a few of many."""
