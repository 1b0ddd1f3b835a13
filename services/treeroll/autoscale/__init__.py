"""How many replicas a pool is to have, as a function of what was seen of it. Pure: no clock, no I/O."""
