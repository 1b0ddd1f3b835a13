"""What the coordinator knows: runs, trees, branches, accounts and replicas; and what events and effects say."""
