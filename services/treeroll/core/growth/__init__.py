"""One tree's life: segments become nodes, policies answer, branches end. It only marks what it wants of the others."""
