"""What a replica keeps of a grant until its tree is forgotten, so that forks need no prefix sent to them."""

from array import array
from collections.abc import Container, Iterable, Sequence

from treeroll.errors import InvalidInput
from treeroll.generator.detokenizer import Detokenizer
from treeroll.pb.v1 import replica_pb2 as wire
from treeroll.records.digest import prefix_digest
from treeroll.tree.tree import TAIL_CHARS


class GrantSequence:
    """Tokens of one grant: its prefix and every segment so far, and the end of the completion text at each boundary."""

    def __init__(self, ids: "array[int]", prompt_tokens: int, tail: str, parent_chars: int | None = None) -> None:
        """`ids` are the prefix, int32; `tail` is the end of its completion text.

        `parent_chars` are the characters of the segment that the prefix ends inside of, None if it ends with a whole.
        """
        self.ids = ids
        self.branch, self.attempt, self.prefix_tokens = "", 0, len(ids)  # see StartBranch
        self.prompt_tokens = prompt_tokens
        self.stopped = False  # by an order
        self.parent_chars = parent_chars
        self._tails = {len(ids): tail}

    def extend(self, ids: "array[int]", text: str) -> None:
        """One more segment."""
        tail = self.tail(len(self.ids))
        self.ids.extend(ids)
        self._tails[len(self.ids)] = (tail + text)[-TAIL_CHARS:]

    def tail(self, total: int) -> str:
        """The end of the completion text of the first `total` tokens; "" at the end of the prompt."""
        return "" if total <= self.prompt_tokens else self._tails[total]

    def fork(self, total: int, cut_from: int, where: str) -> tuple["array[int]", str]:
        """Its first `total` tokens, and the end of the text at the last boundary: `cut_from`, or `total` if that is 0.

        InvalidInput unless there is a boundary.
        """
        boundary = cut_from or total
        if total > len(self.ids) or (boundary != self.prompt_tokens and boundary not in self._tails):
            raise InvalidInput(f"{where}: its prefix grant has no boundary at {boundary} tokens")
        return self.ids[:total], self.tail(boundary)


class Sequences:
    """Sequences of all grants, by tree."""

    def __init__(self, detokenizer: Detokenizer) -> None:
        self._detokenizer = detokenizer
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
            ids, tail = array("i", start.prefix_ids), start.prefix_tail
        elif (known := of_tree.get(start.prefix_grant)) is not None:
            added = array("i", start.prefix_ids)
            ids, tail = known.fork(start.prefix_tokens - len(added), start.cut_from, where)
            ids, tail = ids + added, (tail + start.prefix_tail)[-TAIL_CHARS:]
        else:
            raise InvalidInput(f"{where}: this replica has no sequence of grant {start.prefix_grant}")
        if len(ids) != start.prefix_tokens or start.cut_from >= max(start.prefix_tokens, 1):
            raise InvalidInput(
                f"{where}: a prefix of {start.prefix_tokens} tokens is said, {len(ids)} are there, and the segment it "
                f"ends in begins at {start.cut_from}"
            )
        sequence = self._begin(start, ids, tail)
        sequence.branch, sequence.attempt = start.branch, start.attempt
        if start.inserted_ids:
            sequence.extend(array("i", start.inserted_ids), start.inserted_text)
        self._of.setdefault(start.tree_id, {})[start.grant] = sequence
        return sequence

    def _begin(self, start: wire.StartBranch, ids: "array[int]", tail: str) -> GrantSequence:
        if not start.cut_from:
            return GrantSequence(ids, start.prompt_tokens, tail)
        text = self._detokenizer.open(ids[: start.cut_from]).step(ids[start.cut_from :])
        return GrantSequence(ids, start.prompt_tokens, (tail + text)[-TAIL_CHARS:], len(text))

    def branches(self, grants: Container[int]) -> list[wire.LiveBranch]:
        """What these grants are for, of as many as there are sequences of."""
        return [
            wire.LiveBranch(
                grant=grant,
                tree_id=tree_id,
                branch=sequence.branch,
                attempt=sequence.attempt,
                prefix_tokens=sequence.prefix_tokens,
                prefix_digest=prefix_digest(sequence.ids[: sequence.prefix_tokens].tobytes()),
                stopped=sequence.stopped,
            )
            for tree_id, of_tree in self._of.items()
            for grant, sequence in of_tree.items()
            if grant in grants
        ]

    def forget(self, tree_ids: Iterable[str]) -> None:
        """Nothing will start from these trees any more. Unknown ones pass."""
        for tree_id in tree_ids:
            self._of.pop(tree_id, None)
