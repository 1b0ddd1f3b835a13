"""Embedders: texts as vectors, so that a policy can say how alike two texts are."""
