"""How alike texts are, as sets of features: what policies merge and clients select by. Pure."""
