"""Predictors: what a task is expected to give before it has grown."""
