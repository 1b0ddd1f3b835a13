"""Trees of segments: their shape and figures. Token ids and texts are in the store, and with their replicas."""

from array import array
from dataclasses import dataclass, field

from treeroll.tree.node import LEAF, PRUNED, Node, Tokens

# Characters of path text before a segment that a finish test sees, so that an answer may straddle a boundary.
TAIL_CHARS = 256
# In the path of a node that begins inside its parent: SPLIT - (tokens of the parent before it), then its sibling index.
# Above every sibling index, so that what follows the whole parent sorts first, then what begins at later splits.
SPLIT = 1 << 32


@dataclass(slots=True)
class Tree:
    """Everything grown from one task: a node store with the walks that policies need. Policies only read it."""

    tree_id: str
    seed: int
    nodes: list[Node] = field(default_factory=list)
    # Numbers of nodes with status LEAF / PRUNED, in order of arrival. Sort by path before deciding anything.
    leaves: list[int] = field(default_factory=list)
    pruned: list[int] = field(default_factory=list)
    # Leaf -> reward, None if its scorer failed; the leaves that have been scored so far.
    rewards: dict[int, float | None] = field(default_factory=dict)
    # Held node -> what the run's judge says of the path to it, None if it failed. Only in runs with a judge.
    values: dict[int, float | None] = field(default_factory=dict)
    # (node, its tokens kept) -> sibling indices handed out where it was split; 0 is the node's own continuation.
    splits: dict[tuple[int, int], int] = field(default_factory=dict)

    @classmethod
    def planted(cls, tree_id: str, seed: int, prompt_tokens: int) -> "Tree":
        """A tree that is only its prompt."""
        return cls(tree_id, seed, [Node(0, 0, 0, 0, 0, prompt_tokens)])

    @property
    def root(self) -> Node:
        """The prompt."""
        return self.nodes[0]

    def add(self, node: Node) -> None:
        """Append a node whose parent is here already (TreeWellFormed)."""
        self.nodes.append(node)
        if node.status is LEAF:
            self.leaves.append(node.number)
        elif node.status is PRUNED:
            self.pruned.append(node.number)

    def lineage(self, number: int) -> list[Node]:
        """Nodes from depth 1 down to `number`; empty for the root."""
        nodes = []
        while number != 0:
            node = self.nodes[number]
            nodes.append(node)
            number = node.parent
        return nodes[::-1]

    def path(self, number: int) -> tuple[int, ...]:
        """Sibling indices from the root down, and splits: the node's name, independent of time and place."""
        nodes, indices = self.nodes, []
        while number != 0:
            node = nodes[number]
            indices.append(node.sibling_index)
            number = node.parent
            if self.splits and node.token_start < nodes[number].total:
                indices.append(SPLIT - (node.token_start - nodes[number].token_start))
        return tuple(reversed(indices))

    def tokens_before(self, number: int, total: int, count: int) -> Tokens:
        """The last `count` sampled tokens of the path to `number`, cut after `total` tokens; fewer if there are fewer.

        Only in runs whose policies read tokens.
        """
        parts: list[Tokens] = []
        while number != 0 and count > 0:
            node = self.nodes[number]
            if node.tokens is not None:
                own = node.own
                end = min(total - node.token_start, own.stop)
                part = slice(max(own.start, end - count), end)
                parts.append(Tokens(node.tokens.ids[part], node.tokens.logprobs[part], node.tokens.entropies[part]))
                count -= max(0, end - part.start)
            total, number = node.token_start, node.parent
        before = Tokens(array("i"), array("f"), array("f"))
        for tokens in reversed(parts):
            before.ids += tokens.ids
            before.logprobs += tokens.logprobs
            before.entropies += tokens.entropies
        return before

    def completion_text(self, number: int) -> str:
        """Text of the path down to the node's end, which no split leads to. Only in runs whose policy reads text."""
        return "".join(node.text or "" for node in self.lineage(number))

    def completion_tokens(self, number: int) -> int:
        """Tokens generated on the path down to the node."""
        return self.nodes[number].total - self.root.n_tokens

    def in_path_order(self, numbers: list[int]) -> list[int]:
        """The numbers sorted by path, the one order that does not depend on arrival."""
        return sorted(numbers, key=self.path)


def path_name(path: tuple[int, ...]) -> str:
    """A path as people and records write it: "0.1.0"; empty for the root."""
    return ".".join(map(str, path))
