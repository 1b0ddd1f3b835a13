"""DeepSearch: Monte-Carlo tree search that dives from a chosen node and jumps where the whole frontier looks best."""

import math
from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from treeroll.policies.branch.settled import Settled, SettledParams
from treeroll.policies.branch.success import SuccessRates
from treeroll.policy.base import Expansion, Growth, Limits
from treeroll.policy.needs import Needs
from treeroll.policy.width import MAX_FANOUT, LeafCount, within_leaves
from treeroll.tree.node import BranchReason, Decision, Node, NodeStatus, StopReason
from treeroll.tree.tree import Tree
from treeroll.why import Why, because

# A path that was cut off has no answer to be confident of.
UNFINISHED = (StopReason.LENGTH, StopReason.DEPTH)
SMALLEST_SHARE = 0.1


class DeepSearch:
    """Expands one node at a time into `width` segments, until `terminals` paths have been backed up.

    Where no child of an expansion ends, the search goes down to the one with the best Q + c * sqrt(ln N_parent / N),
    without the second term where N_parent is 0. Where some end, one of them is backed up (a correct one, else a wrong,
    else an unfinished one; among them the one with the lowest mean surprisal), and the search goes on at the inner node
    of the whole tree without children that has the best parent_weight * tanh Q(parent) + own_weight * tanh Q(n) +
    depth_weight * bonus(depth / max_depth). Q = v / N: a back-up adds max((depth_i + 1) / (depth_leaf + 1), 0.1) * z to
    the v of every node i of the path, z = +1 or -1, where +1 replaces a negative v, and -1 leaves a positive one as it
    is; N is how many back-ups went through a node, plus 1 for the expansion that made it, which the prompt has none of.
    Defaults are the release's; its entropy term is off there and absent here.

    Every choice reads finished paths, so all nodes below the first segment are retrospective: their path weights are 0,
    and leaves are for training by the policy's own credit, not for estimates of the mean reward.

    Ours: success is a reward of `success` or more; ties go to the first node in path order; a discarded path is neither
    backed up nor a place to go on; `settled_after` takes settled subtrees off the frontier.
    """

    name: ClassVar[str] = "deepsearch"
    summary: ClassVar[str] = "tree search: dive by UCT, back up an ending, jump to the best of the frontier"
    paper: ClassVar[str] = "DeepSearch, arXiv 2509.25454"
    explains: ClassVar[Mapping[str, str]] = {
        "deepsearch.dive": "the search goes down to it: its score of {score}, with Q {q}, is the best of {open} "
        "children that go on",
        "deepsearch.jump": "after a back-up, its score of {score} at depth {depth} is the best of the {open} nodes "
        "of the frontier",
    }
    needs: ClassVar[Needs] = Needs(hold=True, rewards=True)

    class Params(SettledParams):
        """Shape of the search, and the weights of its scores."""

        width: int = Field(8, ge=1, le=MAX_FANOUT, description="children of an expansion")
        terminals: int = Field(8, ge=1, le=MAX_FANOUT, description="endings backed up before the search stops")
        exploration: float = Field(2.0, ge=0, le=1e6, description="c, weight of the visit term")
        parent_weight: float = Field(0.4, ge=0, le=1e6, description="weight of the parent's value on the frontier")
        own_weight: float = Field(0.0, ge=0, le=1e6, description="weight of the node's own value on the frontier")
        depth_weight: float = Field(0.01, ge=0, le=1e6, description="weight of the depth bonus on the frontier")
        depth_bonus: Literal["sqrt", "linear", "log"] = Field(
            "sqrt", description="sqrt(depth / max_depth), depth / max_depth, or log(depth + 1)"
        )
        success: float = Field(0.5, ge=-1e6, le=1e6, description="smallest reward that is a success")

    def __init__(self, params: Params, limits: Limits) -> None:
        # An expansion may end in as many paths as it has children, of which one is backed up.
        self.leaf_count = LeafCount(
            "width * terminals",
            lambda width, terminals: width * terminals,
            {"width": params.width, "terminals": params.terminals},
        )
        self.max_leaves = within_leaves(self.name, self.leaf_count, limits)
        self._params = params
        self._limits = limits

    def grow(self, tree: Tree) -> Growth:
        """A fresh memory for a new tree."""
        return DeepSearchGrowth(self._params, self._limits)


class DeepSearchGrowth:
    """Values and visits of the nodes on backed-up paths, and what may be expanded."""

    def __init__(self, params: DeepSearch.Params, limits: Limits) -> None:
        self._params = params
        self._limits = limits
        self._wave: list[Node] = []  # children of the last expansion
        self._frontier: set[int] = set()  # inner nodes without children
        self._backed_up = 0
        self._values: dict[int, float] = {}  # v
        self._visits: dict[int, int] = {}  # N
        self._rates = SuccessRates(params.success)
        self._settled = Settled(params, self._rates)

    def start(self, tree: Tree) -> list[Expansion]:
        """The prompt's children."""
        return [Expansion(tree.root.number, self._params.width, BranchReason.INITIAL, resume=False)]

    def on_node(self, tree: Tree, node: Node) -> list[Expansion]:
        """Every path waits at its boundary until the whole expansion is there."""
        self._wave.append(node)
        if node.status is NodeStatus.INNER:
            self._frontier.add(node.number)
            self._visits[node.number] = 1
        return []

    def on_idle(self, tree: Tree) -> list[Expansion]:
        """The next expansion: down from the last one, or anywhere after a back-up."""
        if self._settled.possible:
            self._rates.update(tree)
        wave, self._wave = sorted(self._wave, key=lambda node: node.sibling_index), []
        ended = [node for node in wave if node.status is NodeStatus.LEAF]
        open_ = [node for node in wave if node.status is NodeStatus.INNER]
        if ended:
            self._back_up(tree, min(ended, key=lambda leaf: self._rank(tree, leaf)))
            if self._backed_up == self._params.terminals:
                return []
        if open_ and not ended:
            chosen = max(open_, key=self._uct)
            terms = {"score": self._uct(chosen), "q": self._q(chosen.number), "open": len(open_)}
            return self._expand(chosen, because("deepsearch.dive", **terms))
        best = self._best_of_frontier(tree)
        if best is None:
            return []
        terms = {"score": self._frontier_score(best), "depth": best.depth, "open": len(self._frontier)}
        return self._expand(best, because("deepsearch.jump", **terms))

    def _expand(self, node: Node, why: Why) -> list[Expansion]:
        self._frontier.remove(node.number)
        return [Expansion(node.number, self._params.width - 1, BranchReason.FORK, Decision.RETROSPECTIVE, why=why)]

    def _q(self, number: int) -> float:
        """Q of a node; 0 before it has been visited."""
        value = self._values.get(number, 0.0)
        return value / self._visits[number] if value else 0.0

    def _uct(self, child: Node) -> float:
        q, above = self._q(child.number), self._visits.get(child.parent, 0)
        if not above:
            return q
        return q + self._params.exploration * math.sqrt(math.log(above) / self._visits[child.number])

    def _best_of_frontier(self, tree: Tree) -> Node | None:
        nodes = [tree.nodes[number] for number in tree.in_path_order(list(self._frontier))]
        open_ = (node for node in nodes if not self._settled.above(tree, node))
        return max(open_, key=self._frontier_score, default=None)

    def _frontier_score(self, node: Node) -> float:
        params = self._params
        score = params.parent_weight * math.tanh(self._q(node.parent))
        score += params.own_weight * math.tanh(self._q(node.number))
        return score + params.depth_weight * self._bonus(node.depth)

    def _bonus(self, depth: int) -> float:
        match self._params.depth_bonus:
            case "sqrt":
                return math.sqrt(depth / self._limits.max_depth)
            case "linear":
                return depth / self._limits.max_depth
            case "log":
                return math.log(depth + 1)

    def _rank(self, tree: Tree, leaf: Node) -> tuple[int, float]:
        """Smaller is backed up first."""
        surprisal = -leaf.path_logprob_sum / max(tree.completion_tokens(leaf.number), 1)
        if self._succeeded(tree, leaf):
            return 0, surprisal
        return (2 if leaf.stop_reason in UNFINISHED else 1), surprisal

    def _succeeded(self, tree: Tree, leaf: Node) -> bool:
        reward = tree.rewards[leaf.number]
        return reward is not None and reward >= self._params.success

    def _back_up(self, tree: Tree, leaf: Node) -> None:
        self._backed_up += 1
        sign = 1.0 if self._succeeded(tree, leaf) else -1.0
        for node in (tree.root, *tree.lineage(leaf.number)):
            share = max((node.depth + 1) / (leaf.depth + 1), SMALLEST_SHARE)
            self._values[node.number] = _updated(self._values.get(node.number, 0.0), share * sign)
            self._visits[node.number] = self._visits.get(node.number, 0) + 1


def _updated(value: float, change: float) -> float:
    """Success outweighs failure: it replaces a negative value, and failure does not lower a positive one."""
    if value > 0 > change:
        return value
    if value < 0 < change:
        return change
    return value + change
