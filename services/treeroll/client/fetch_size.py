"""FetchSize: how many trees to ask for at once."""

from collections.abc import Sequence

from treeroll.pb.v1 import rollout_pb2

# Trees travel in messages of about this size, a third of what the service puts into one: every message costs both sides
# as much as a few trees.
PIECE_BYTES = 5 << 20
FIRST_PIECE = 8  # trees, before any has been seen


class FetchSize:
    """A number of trees that makes a message of about PIECE_BYTES, judged by the last one."""

    def __init__(self) -> None:
        self.trees = FIRST_PIECE

    def weigh(self, deliveries: Sequence[rollout_pb2.Delivery]) -> None:
        """Trees that came."""
        if deliveries:
            self.trees = max(1, PIECE_BYTES // max(deliveries[-1].tree.ByteSize(), 1))
