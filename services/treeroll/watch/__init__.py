"""What a service's snapshots say to who watches it: a view of some minutes, and a verdict in sentences."""
