"""The command line: one file per command; `results/` knows the files of a rollout's directory."""
