"""Benchmarks that users can run: `treeroll bench ...`. Every one compares variants in interleaved rounds of one run."""
