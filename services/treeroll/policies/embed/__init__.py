"""Embedders: texts as sets of features, so that a policy can say how alike two texts are."""
