"""What trees, nodes and samples are on the wire, in the store and in files, and how whole trees are made of records."""
