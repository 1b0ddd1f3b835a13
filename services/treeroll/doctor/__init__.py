"""What `treeroll doctor` looks at: each check is a function that finds something out, as the service itself does."""
