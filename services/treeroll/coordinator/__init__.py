"""The coordinator's shell: gRPC in, one atomic commit per tick, effects out. Decisions are made in `core`."""
