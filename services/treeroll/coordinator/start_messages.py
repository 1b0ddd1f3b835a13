"""Orders to start branches, with the prefixes that their replicas do not have read from the store."""

from collections.abc import Mapping

from treeroll.coordinator.replica_session import sampling_command, start_command
from treeroll.core.model.effects import StartBranch
from treeroll.errors import StoreError
from treeroll.pb.v1 import common_pb2 as pb
from treeroll.pb.v1 import replica_pb2 as wire
from treeroll.records.split import path_text, path_tokens
from treeroll.sampling import Sampling
from treeroll.store.base import Store
from treeroll.tracing.tracer import Tracer
from treeroll.tree.tree import TAIL_CHARS


class StartOrders:
    """Makes StartBranch messages. `eos_token_ids` of each pool's model end a sequence, unless its run ignores them."""

    def __init__(self, store: Store, eos_token_ids: Mapping[str, list[int]]) -> None:
        self._store = store
        self.eos_token_ids = eos_token_ids
        self.tracer: Tracer | None = None
        """Names the spans of orders; None: nothing is traced."""
        # Of a run's settings and a pool, not of a run's id: a deleted run's id may be another run's.
        self._sampling: dict[tuple[Sampling, str], wire.Sampling] = {}

    async def make(self, effects: list[StartBranch]) -> list[wire.StartBranch]:
        """One order per effect. Waits for the store only if a prefix has to be read: a branch that moves is rare."""
        orders = [start_command(effect, self._sampling_of(effect)) for effect in effects]
        if self.tracer is not None:
            for order in orders:
                self.tracer.mark(order)
        moved = [index for index, effect in enumerate(effects) if effect.stored]
        if moved:
            wanted = [(effects[index].tree_id, list(effects[index].stored)) for index in moved]
            for index, blobs in zip(moved, await self._store.load_nodes(wanted), strict=True):
                _add_prefix(orders[index], [pb.Node.FromString(blob) for blob in blobs])
        return orders

    def _sampling_of(self, effect: StartBranch) -> wire.Sampling:
        key = effect.run.spec.sampling, effect.model
        if key not in self._sampling:
            self._sampling[key] = sampling_command(key[0], self.eos_token_ids[effect.model])
        return self._sampling[key]


def _add_prefix(order: wire.StartBranch, path: list[pb.Node]) -> None:
    ids = path_tokens(order.prefix_ids, path)
    order.prefix_ids = ids[: 4 * order.prefix_tokens]
    order.prefix_tail = path_text(path[:-1] if order.cut_from else path)[-TAIL_CHARS:]
    if len(order.prefix_ids) != 4 * order.prefix_tokens:
        raise StoreError(
            f"tree {order.tree_id}: the stored path has {len(order.prefix_ids) // 4} tokens, not {order.prefix_tokens}"
        )
