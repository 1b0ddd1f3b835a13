"""Branch policies, grown by the real core on simulated fleets."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from treeroll.core.model.live_tree import LiveTree
from treeroll.policies import registry
from treeroll.policies.policies import Policies
from treeroll.policy.base import Limits
from treeroll.simulation.world import World, fingerprint
from treeroll.testing.case import LIMITS, Case, NotConformant
from treeroll.testing.watched import WatchedPolicy
from treeroll.tree.node import Decision

TASKS = 3


@dataclass(frozen=True, slots=True)
class Text:
    """How a world's paths end: by chance at each token, and discarded if shorter than `min_tokens`.

    Segments have fixed lengths, or are `steps` of an agent, with observations.
    """

    what: str
    end_share: float
    min_tokens: int = 0
    steps: bool = False


@dataclass(frozen=True, slots=True)
class Fleet:
    """Who generates, and in which order."""

    seed: int
    replicas: int
    slots: int
    placement: str = "parent_affinity"
    kill_share: float = 0.0


ORDINARY: Final = Text("paths of all lengths", 0.02)
TEXTS: Final = (
    ORDINARY,
    Text("paths that never end early", 0.0),
    Text("paths of which some are discarded", 0.03, 40),
    Text("trees whose paths have one node", 1.0),
    Text("trees that keep no path", 1.0, 2),
    Text("paths of agent steps", 0.02, steps=True),
)
ALONE: Final = Fleet(1, 1, 64)
OTHERS: Final = (Fleet(2, 3, 2), Fleet(3, 2, 3, "round_robin"), Fleet(4, 3, 4, kill_share=0.02))
BUDGETS: Final = (1, 400, 3000)


def check_branch_policy(policy: Any, params: Mapping[str, object] | None = None, limits: Limits = LIMITS) -> None:
    """Try a branch policy class.

    Checked: its shape; its trees are the same every time, on every fleet, in every order of arrival, through losses of
    replicas, in hold mode and with a tool's observations (ForkBlind); expansions are well formed and the tree is only
    read; no tree has more leaves than `max_leaves` and `limits.leaves` allow, or is deeper than `max_depth`; every tree
    ends, empty ones and ones of one node too; a budget is kept; and what is declared a boundary decision does not
    change when tokens beyond the boundary do.

    Raises:
        NotConformant: a promise is broken.
    """
    case = Case.of("branch", policy, params, limits)
    _check_declarations(case)
    for text in TEXTS:
        if limits.max_depth > 1 or not text.steps:
            _check_growth(case, text)
    _check_budgets(case)
    _check_boundary_decisions(case)


def _check_declarations(case: Case) -> None:
    policy = case.build()
    widest = policy.max_leaves
    kept = isinstance(widest, int) and 1 <= widest <= case.limits.leaves
    case.require(kept, "Width", f"has max_leaves {widest!r}, the run asks for {case.limits.leaves} leaves")


def _check_growth(case: Case, text: Text) -> None:
    policy = case.build()
    first = _grown(case, text, ALONE, policy)
    for live in first.finished.values():
        _check_tree(case, text, live)
    again = _grown(case, text, ALONE, policy)
    _check_equal(case, "Deterministic", f"of {text.what}, grown twice by one object", first, again)
    for fleet in OTHERS:
        _check_equal(case, "ForkBlind", f"of {text.what}, on {fleet}", first, _grown(case, text, fleet))
    if not policy.needs.hold and not text.steps:
        held = _grown(case, text, OTHERS[0], hold=True)
        _check_equal(case, "ForkBlind", f"of {text.what}, in hold mode", first, held)


def _check_tree(case: Case, text: Text, live: LiveTree) -> None:
    leaves, depth = len(live.tree.leaves), max(node.depth for node in live.tree.nodes)
    case.require(leaves <= case.limits.leaves, "Width", f"grows {leaves} leaves for {case.limits.leaves}")
    case.require(depth <= case.limits.max_depth, "Depth", f"grows {depth} segments for {case.limits.max_depth}")
    kept = bool(leaves) or text.min_tokens > 0
    case.require(kept, "Ends", f"grows a tree without a leaf from {text.what}")


def _check_budgets(case: Case) -> None:
    """Under a budget every tree ends, nothing is overspent, and what was grown is what would have been."""
    whole = {(row[0], row[1]): row[4] for row in fingerprint(_grown(case, ORDINARY, ALONE))}
    for budget in BUDGETS:
        world = _grown(case, ORDINARY, OTHERS[0], budget_tokens=budget)
        spent = world.state.runs["run"].ledger.spent
        case.require(spent <= budget, "Ledger", f"spends {spent} tokens of a budget of {budget}")
        for row in fingerprint(world):
            kept = whole.get((row[0], row[1])) == row[4]
            case.require(kept, "Ledger", f"grows path {row[1]} under a budget of {budget}, and not without one")


def _check_boundary_decisions(case: Case) -> None:
    """Whatever lies beyond a depth, the boundary branches that start up to it stay the same."""
    first = _grown(case, ORDINARY, ALONE)
    for depth in range(case.limits.max_depth):
        other = _grown(case, ORDINARY, ALONE, resample_after=depth)
        for tree_id, live in first.finished.items():
            here, there = _boundary_children(live, depth), _boundary_children(other.finished[tree_id], depth)
            how = f"declares decisions at depth {depth} or above as boundary that change with tokens beyond it"
            case.require(here == there, "Boundary", how)


def _boundary_children(live: LiveTree, depth: int) -> Counter[tuple[int, ...]]:
    """Children by boundary decisions of each node up to a depth that only boundary decisions led to."""
    tree, counts = live.tree, Counter[tuple[int, ...]]()
    for node in tree.nodes[1:]:
        if node.depth <= depth + 1 and all(step.decision is Decision.BOUNDARY for step in tree.lineage(node.number)):
            counts[tree.path(node.parent)] += 1
    return counts


def _check_equal(case: Case, promise: str, where: str, one: World, two: World) -> None:
    for here, there in zip(fingerprint(one), fingerprint(two), strict=False):
        if here != there:
            row = min(here, there, key=lambda row: row[:2])
            raise case.broken(promise, f"grows other trees {where}: they differ at path {row[1]} of {row[0]}")
    same = len(fingerprint(one)) == len(fingerprint(two))
    case.require(same, promise, f"grows more or fewer nodes {where}")


def _grown(
    case: Case,
    text: Text,
    fleet: Fleet,
    policy: Any = None,
    hold: bool = False,
    budget_tokens: int | None = None,
    resample_after: int | None = None,
) -> World:
    """A world in which the trees have grown to their ends, every promise of the core checked at every step."""
    watched = WatchedPolicy(policy or case.build(), case)
    hold = hold or watched.needs.hold
    world = World(
        seed=fleet.seed,
        replicas=fleet.replicas,
        slots=fleet.slots,
        placement=fleet.placement,
        kill_share=fleet.kill_share,
        end_share=text.end_share,
        tasks=TASKS,
        limits=case.limits,
        policies=_policies(watched, text, hold, case.limits),
        budget_tokens=budget_tokens,
        resample_after=resample_after,
    )
    try:
        _run(world)
    except NotConformant:
        raise
    except AssertionError as error:
        raise case.broken("Invariants", f"breaks one of the core's on {text.what}: {error}") from error
    except Exception as error:  # whatever a policy may raise
        how = f"fails on {text.what}: {type(error).__name__}: {error}{_absent(watched, error)}"
        raise case.broken("Ends", how) from error
    return world


def _run(world: World) -> None:
    """To the end; raises what the policy raised, though the core ends the tree and goes on."""
    world.run()
    for live in world.finished.values():
        if live.failure is not None:
            raise live.failure.__cause__ or live.failure


def _absent(watched: WatchedPolicy, error: Exception) -> str:
    """What an error may come from, if it may come from nodes that do not have what was not asked for."""
    absent = [name for name in ("tokens", "text") if not getattr(watched.needs, name)]
    if not absent or "NoneType" not in str(error):
        return ""
    return f" (nodes have no {' and no '.join(absent)}: see {' and '.join(f'needs.{name}' for name in absent)})"


def _policies(watched: WatchedPolicy, text: Text, hold: bool, limits: Limits) -> Policies:
    tests = {"boxed": "off", "repetition": "off", "min_tokens": min(text.min_tokens, limits.max_tokens)}
    segment, params = ("agent_step", {}) if text.steps else ("fixed", {"hold": hold})
    return Policies(
        registry.build("segment", segment, params, limits),
        watched,
        registry.build("prune", "finish_tests", tests, limits),
        registry.build("advantage", "grpo", {}, limits),
    )
