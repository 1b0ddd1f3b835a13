"""What a replica keeps of a grant until its tree is forgotten, so that forks need no prefix sent to them."""

from array import array
from collections.abc import Iterable, Sequence

from treeroll.core.tree import TAIL_CHARS
from treeroll.errors import InvalidInput
from treeroll.pb.v1 import replica_pb2 as wire


class GrantSequence:
    """Tokens of one grant: its prefix and every segment so far, and the end of the completion text at each boundary."""

    def __init__(self, ids: "array[int]", prompt_tokens: int, tail: str) -> None:
        """`ids` are the prefix, int32; `tail` is the end of its completion text."""
        self.ids = ids
        self.prompt_tokens = prompt_tokens
        self._tails = {len(ids): tail}

    def extend(self, ids: "array[int]", text: str) -> None:
        """One more segment."""
        tail = self.tail(len(self.ids))
        self.ids.extend(ids)
        self._tails[len(self.ids)] = (tail + text)[-TAIL_CHARS:]

    def tail(self, total: int) -> str:
        """The end of the completion text of the first `total` tokens; "" at the end of the prompt."""
        return "" if total <= self.prompt_tokens else self._tails[total]

    def fork(self, total: int, where: str) -> "GrantSequence":
        """A sequence of its own with the first `total` tokens. InvalidInput unless there is a boundary."""
        if total != self.prompt_tokens and total not in self._tails:
            raise InvalidInput(f"{where}: its prefix grant has no boundary at {total} tokens")
        return GrantSequence(self.ids[:total], self.prompt_tokens, self.tail(total))


class Sequences:
    """Sequences of all grants, by tree."""

    def __init__(self) -> None:
        self._of: dict[str, dict[int, GrantSequence]] = {}

    @property
    def trees(self) -> Sequence[str]:
        """Trees that something is kept of."""
        return list(self._of)

    def __len__(self) -> int:
        """Sequences kept."""
        return sum(len(of_tree) for of_tree in self._of.values())

    def open(self, start: wire.StartBranch) -> GrantSequence:
        """The sequence of a new grant, kept from now on. InvalidInput if its prefix is not what the order says."""
        where = f"grant {start.grant}"
        of_tree = self._of.get(start.tree_id, {})
        if not start.prefix_grant:
            sequence = GrantSequence(array("i", start.prefix_ids), start.prompt_tokens, start.prefix_tail)
        elif (known := of_tree.get(start.prefix_grant)) is not None:
            sequence = known.fork(start.prefix_tokens, where)
        else:
            raise InvalidInput(f"{where}: this replica has no sequence of grant {start.prefix_grant}")
        if len(sequence.ids) != start.prefix_tokens:
            raise InvalidInput(
                f"{where}: a prefix of {start.prefix_tokens} tokens is said, {len(sequence.ids)} are there"
            )
        self._of.setdefault(start.tree_id, {})[start.grant] = sequence
        return sequence

    def forget(self, tree_ids: Iterable[str]) -> None:
        """Nothing will start from these trees any more. Unknown ones pass."""
        for tree_id in tree_ids:
            self._of.pop(tree_id, None)
