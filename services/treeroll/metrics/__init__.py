"""Metrics for Prometheus: one catalogue, from which the text of a scrape and the page about it are made."""
