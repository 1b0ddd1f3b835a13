"""Growth: where a tree forks, and when it is done."""
