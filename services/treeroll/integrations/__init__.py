"""Adapters to other projects' trainers and tasks. Each needs one of their libraries, and is imported by who uses it."""
