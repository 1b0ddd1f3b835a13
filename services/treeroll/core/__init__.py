"""The pure decision core: `step(state, event, now)` returns effects as data and touches nothing else.

Nothing here imports asyncio, grpc, redis, ray, time or random. Time, ids and seeds come in as parameters, so the same
inputs give the same effects: that is what makes simulation, replay and crash tests cheap.
"""
