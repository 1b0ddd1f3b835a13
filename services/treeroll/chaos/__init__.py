"""Faults on real processes: a service in pieces, what befalls them, and whether anything was lost.

`scripts/chaos` runs it. A world (`world`) is Redis, a coordinator, replicas and trainers, each a process of its own,
with a proxy on every connection. A run is grown in it while faults (`faults`) strike; a watch (`watch`) samples how it
gets on, trainers keep logs, and at the end all of that is held against the store and against an undisturbed run
(`checks`). The engine is simulated and deterministic, so every token has to be the same.
"""
