"""Filters: trees that a run's trainers would learn nothing from, or not what it wants, are dropped when they end."""

from treeroll.core.model.live_tree import LiveTree
from treeroll.tree.node import StopReason

TRUNCATED = frozenset({StopReason.LENGTH, StopReason.DEPTH})


def dropped(live: LiveTree) -> tuple[str, str]:
    """Why a tree with leaves and credit is dropped: the filter's name and a sentence; "" twice if it is not."""
    rules, leaves = live.run.spec.delivery, live.tree.leaves
    scored = sum(live.tree.rewards.get(leaf) is not None for leaf in leaves)
    if scored < rules.min_scored:
        return "min_scored", f"{scored} of {len(leaves)} leaves have a reward, min_scored is {rules.min_scored}"
    if "truncated" in rules.drop and all(live.tree.nodes[leaf].stop_reason in TRUNCATED for leaf in leaves):
        return "truncated", f"all {len(leaves)} leaves were cut by max_tokens or max_depth"
    if "zero_advantage" in rules.drop and not any(any(credit.advantages) for credit in live.credit):
        return "zero_advantage", f"no token has an advantage: {scored} of {len(leaves)} leaves have a reward"
    return "", ""
