"""Server side of delivery: finished trees to trainer groups, by lease and acknowledgement."""
