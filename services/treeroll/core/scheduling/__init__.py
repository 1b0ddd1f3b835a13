"""Who runs where and when: replicas, queues, new trees, fair shares, and the books after each batch of events."""
