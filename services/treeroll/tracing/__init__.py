"""Traces of trees for OpenTelemetry: names that all processes agree on, and spans that are made of stored trees."""
