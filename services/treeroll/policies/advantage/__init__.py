"""Estimators of credit: what each sample of a tree is worth to a trainer."""
