"""Advantage estimators: credit of finished trees."""

import copy
import math
from collections.abc import Mapping
from typing import Any, Final

from treeroll.policy.base import CreditTree, Limits
from treeroll.testing.case import LIMITS, Case
from treeroll.tree.rng import randint, shuffled, uniform

SEEDS: Final = range(40)
Credit = dict[int, tuple[float, ...]]


def check_advantage_estimator(policy: Any, params: Mapping[str, object] | None = None, limits: Limits = LIMITS) -> None:
    """Try an advantage estimator class.

    Checked: its shape; exactly the scored leaves get credit, one finite number per node of their path; credit depends
    on the tree only, which is left alone, and not on the numbers of its nodes or the order of its leaves; single
    leaves, single nodes, equal rewards and unscored leaves do no harm. Rewards that are not finite never reach an
    estimator: `CreditTree` refuses them.

    Raises:
        NotConformant: a promise is broken.
    """
    case = Case.of("advantage", policy, params, limits)
    used = case.build()
    for tree in _trees():
        found = _estimated(case, used, tree)
        _check(case, tree, found)
        again = _estimated(case, case.build(), tree)
        case.require(found == again, "Pure", f"gives another credit the second time for {tree}")
        numbers = _renumbered(tree)
        moved = _estimated(case, used, _rearranged(tree, numbers))
        _check_equal(case, tree, found, {leaf: moved[numbers[leaf]] for leaf in found})


def _trees() -> list[CreditTree]:
    """Ragged trees of all sizes, down to one node; rewards of several kinds, some leaves without."""
    one_node = CreditTree({1: (1,)}, {1: 1.0}, {0: 5, 1: 7}, {0: 0.0, 1: -3.0})
    one_leaf = CreditTree({3: (1, 2, 3)}, {3: 0.0}, dict.fromkeys(range(4), 7), dict.fromkeys(range(4), -3.0))
    return [one_node, one_leaf, *(_ragged(seed) for seed in SEEDS)]


def _ragged(seed: int) -> CreditTree:
    paths: dict[int, tuple[int, ...]] = {}
    open_: list[tuple[int, ...]] = [()]
    count = 0
    while open_:
        path = open_.pop(0)
        for child in range(randint(1, 3, seed, "children", *path)):
            count += 1
            below = (*path, count)
            if len(below) == 4 or uniform(seed, "end", count, child) < 0.4:
                paths[count] = below
            else:
                open_.append(below)
    rewards = {leaf: _reward(seed, leaf) for leaf in paths if uniform(seed, "scored", leaf) < 0.8}
    # Somebody is always scored: without that credit is not asked for.
    rewards = rewards or {next(iter(paths)): 1.0}
    tokens = {number: randint(1, 50, seed, "tokens", number) for number in range(count + 1)}
    logprobs = {number: -0.5 * tokens[number] * uniform(seed, "logprob", number) for number in tokens}
    groups = {leaf: randint(1, 2, seed, "group", leaf) for leaf in paths if seed % 2}
    return CreditTree(paths, rewards, tokens, logprobs, groups=groups)


def _reward(seed: int, leaf: int) -> float:
    draw = uniform(seed, "reward", leaf)
    return (1.0, float(draw < 0.5), 4 * draw - 2, 1e6 * draw)[seed % 4]


def _renumbered(tree: CreditTree) -> dict[int, int]:
    """Another number for each node, parents still before children, as another order of arrival would give."""
    parents = {node: (path[i - 1] if i else 0) for path in tree.paths.values() for i, node in enumerate(path)}
    numbers = {0: 0}
    waiting = shuffled(sorted(parents), 1, "arrival")
    while waiting:
        node = next(node for node in waiting if parents[node] in numbers)
        waiting.remove(node)
        numbers[node] = len(numbers)
    return numbers


def _rearranged(tree: CreditTree, numbers: Mapping[int, int]) -> CreditTree:
    def moved(values: Mapping[int, Any]) -> dict[int, Any]:
        return {numbers[node]: values[node] for node in reversed(list(values)) if node in numbers}

    paths = {numbers[leaf]: tuple(numbers[node] for node in path) for leaf, path in reversed(tree.paths.items())}
    rewards, tokens, logprobs = moved(tree.rewards), moved(tree.n_tokens), moved(tree.logprob_sums)
    return CreditTree(paths, rewards, tokens, logprobs, groups=moved(tree.groups))


def _estimated(case: Case, policy: Any, tree: CreditTree) -> Credit:
    shown = copy.deepcopy(tree)
    try:
        found: Credit = policy.estimate(shown)
    except Exception as error:  # whatever an estimator may raise
        raise case.broken("Credit", f"fails on {tree}: {type(error).__name__}: {error}") from error
    case.require(shown == tree, "ReadsOnly", "changes the tree it is shown")
    return found


def _check(case: Case, tree: CreditTree, found: Credit) -> None:
    case.require(found.keys() == tree.rewards.keys(), "Credit", f"credits {sorted(found)}, scored are {tree.rewards}")
    for leaf, values in found.items():
        case.require(len(values) == len(tree.paths[leaf]), "Credit", f"gives {values} for path {tree.paths[leaf]}")
        case.require(all(map(math.isfinite, values)), "Finite", f"gives {values} for leaf {leaf} of {tree}")


def _check_equal(case: Case, tree: CreditTree, one: Credit, two: Credit) -> None:
    for leaf, values in one.items():
        scale = max(1.0, *map(abs, values))
        kept = all(abs(a - b) <= 1e-6 * scale for a, b in zip(values, two[leaf], strict=True))
        case.require(kept, "Order", f"gives leaf {leaf} {values} or {two[leaf]}, by the order of arrival, of {tree}")
