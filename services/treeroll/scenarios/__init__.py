"""Services with a known fault, to learn the dashboard on and to test it with: real coordinators, simulated engines.

Nothing that a page shows of one is made up: coordinator, feed, Redis, consumers and their trouble are those of a
service; only what engines write is chance, and how long they take is a model.
"""
