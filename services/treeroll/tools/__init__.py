"""Tools that a model calls by what it writes. A tool is asked when the text ends in its `call_end`, never else."""
