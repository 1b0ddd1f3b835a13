"""summary.json: what a rollout came to. Sample-side figures are taken from the rows themselves, tree by tree. Pure."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from treeroll.policies.segment.turns import percentile
from treeroll.results.session import Figures, Session, Sessions

# Failed tasks that are listed with their error; all are counted.
LISTED_FAILURES = 100


@dataclass(slots=True)
class TreeFigures:
    """One tree as the summary sees it. Lists have one entry per sample, in order."""

    prompt_tokens: int
    completion_tokens: Sequence[int]
    rewards: Sequence[float | None]
    path_weights: Sequence[float]
    reward_errors: int = 0
    partial: bool = False
    distinct: int = 0
    """Different completions among the samples."""


@dataclass(slots=True)
class ClusteredMean:
    """A weighted mean over leaves, with a standard error over trees: leaves of one tree are correlated.

    Trees are the clusters of a ratio estimate, sum of weighted rewards / sum of weights. Values are kept relative to
    the first tree's mean, so that large rewards that differ little lose no digits.
    """

    trees: int = 0
    shift: float = 0.0
    weight: float = 0.0
    total: float = 0.0
    weight_squared: float = 0.0
    product: float = 0.0
    total_squared: float = 0.0

    def add(self, values: Sequence[float], weights: Sequence[float]) -> None:
        """Add the scored leaves of one tree. A tree without weight says nothing."""
        weight = math.fsum(weights)
        if weight <= 0:
            return
        if not self.trees:
            self.shift = math.fsum(w * v for w, v in zip(weights, values, strict=True)) / weight
        total = math.fsum(w * (v - self.shift) for w, v in zip(weights, values, strict=True))
        self.trees += 1
        self.weight += weight
        self.total += total
        self.weight_squared += weight * weight
        self.product += weight * total
        self.total_squared += total * total

    @property
    def mean(self) -> float | None:
        """None without a scored leaf."""
        return self.shift + self.total / self.weight if self.trees else None

    @property
    def standard_error(self) -> float | None:
        """None with fewer than two trees."""
        if self.trees < 2:
            return None
        mean = self.total / self.weight
        residuals = self.total_squared - 2 * mean * self.product + mean * mean * self.weight_squared
        return math.sqrt(max(residuals, 0.0) * self.trees / (self.trees - 1)) / self.weight


@dataclass(slots=True)
class Tally:
    """Sums over samples and nodes; constant in size."""

    trees: int = 0
    partial_trees: int = 0
    samples: int = 0
    prompt_tokens: int = 0
    delivered_tokens: int = 0
    """Tokens of all samples counted separately."""
    unique_tokens: int = 0
    """Tokens of nodes that are in at least one sample, each counted once."""
    reward_errors: int = 0
    distinct_samples: int = 0
    """Different completions, counted tree by tree."""
    mixed_trees: int = 0
    """Trees with both a better and a worse leaf: the others teach a group-relative trainer nothing."""
    calls: Counter[int] = field(default_factory=Counter)
    """Samples by how many calls a tool answered on their path."""
    reward: ClusteredMean = field(default_factory=ClusteredMean)
    unbiased: ClusteredMean = field(default_factory=ClusteredMean)

    def add_tree(self, tree: TreeFigures) -> None:
        """Add the samples of one tree."""
        self.trees += 1
        self.partial_trees += tree.partial
        self.samples += len(tree.completion_tokens)
        self.prompt_tokens += tree.prompt_tokens
        self.delivered_tokens += sum(tree.completion_tokens)
        self.reward_errors += tree.reward_errors
        self.distinct_samples += tree.distinct
        scored = [(r, w) for r, w in zip(tree.rewards, tree.path_weights, strict=True) if r is not None]
        values = [value for value, _ in scored]
        self.mixed_trees += bool(values) and min(values) < max(values)
        self.reward.add(values, [1.0] * len(values))
        self.unbiased.add(values, [weight for _, weight in scored])


@dataclass(frozen=True, slots=True)
class Facts:
    """What a rollout was, beside its figures."""

    run: Mapping[str, Any]
    """The run's whole configuration."""
    policies: Mapping[str, Any]
    """The recipe's policies with their parameters, overrides applied."""
    model: str
    engine: str
    tasks: int
    """Tasks that were asked for."""
    complete: bool
    """Whether every task came to its own end: false after a signal."""
    most_calls: int | None = None
    """Calls of a tool that a path may make; None without a tool, or if that is not known."""
    failures: Sequence[tuple[str, str]] = ()
    """(task id, error) of tasks that ended without a sample."""


def summarize(tally: Tally, sessions: Sessions, facts: Facts) -> dict[str, Any]:
    """The content of summary.json."""
    service = Figures()
    for session in sessions.values():
        service.add(session.figures)
    last = list(sessions.values())[-1] if sessions else Session("")
    wall_s = sum(session.wall_s for session in sessions.values())
    generated = service.generated_tokens
    return {
        "complete": facts.complete,
        "tasks": facts.tasks,
        "failed_tasks": len(facts.failures),
        "trees": tally.trees,
        "partial_trees": tally.partial_trees,
        "samples": tally.samples,
        **_tokens(tally, service),
        "wall_s": round(wall_s, 3),
        "setup_s": round(sum(session.setup_s for session in sessions.values()), 3),
        "samples_per_s": _ratio(tally.samples, wall_s),
        "tokens_per_s": _ratio(generated, wall_s),
        **_rewards(tally),
        "calls_per_sample": _calls(tally.calls, facts.most_calls),
        "budget": {cap["resource"]: {"limit": cap["limit"], "spent": cap["spent"]} for cap in last.caps},
        "stop_reason": last.stop_reason,
        "stop_detail": last.stop_detail,
        "engine_error": next((s.engine_error for s in reversed(sessions.values()) if s.engine_error), ""),
        "policy_error": next((s.policy_error for s in reversed(sessions.values()) if s.policy_error), ""),
        "decisions_missing": list(dict.fromkeys(s.decisions_missing for s in sessions.values() if s.decisions_missing)),
        "quarantined": [task for session in sessions.values() for task in session.quarantined],
        "recipe": facts.run["recipe"],
        "policies": facts.policies,
        "run": facts.run,
        "seed": facts.run["seed"],
        "model": facts.model,
        "engine": facts.engine,
        "replicas": last.replicas,
        "versions": last.versions,
        "runs": list(sessions),
        "failures": [{"task_id": task, "error": error} for task, error in facts.failures[:LISTED_FAILURES]],
    }


def _tokens(tally: Tally, service: Figures) -> dict[str, Any]:
    own = asdict(service)
    return {
        "prompt_tokens": tally.prompt_tokens,
        "generated_tokens": own.pop("generated_tokens"),
        "delivered_tokens": tally.delivered_tokens,
        "unique_tokens": tally.unique_tokens,
        "sharing_ratio": _ratio(tally.delivered_tokens, service.generated_tokens),
        "distinct_sample_fraction": _ratio(tally.distinct_samples, tally.samples),
        "wasted_tokens": service.generated_tokens - tally.unique_tokens,
        **own,
    }


def _rewards(tally: Tally) -> dict[str, Any]:
    scored = tally.reward.trees > 0
    return {
        "mean_reward": tally.reward.mean,
        "mean_reward_se": tally.reward.standard_error,
        "mean_reward_tasks": tally.reward.trees,
        "mean_reward_unbiased": tally.unbiased.mean,
        "mean_reward_unbiased_se": tally.unbiased.standard_error,
        "mean_reward_unbiased_tasks": tally.unbiased.trees,
        "effective_tree_fraction": _ratio(tally.mixed_trees, tally.trees) if scored else None,
        "reward_errors": tally.reward_errors,
    }


def _calls(samples: Counter[int], most: int | None) -> dict[str, float | None] | None:
    """How often samples called a tool, and the share of them that may not call again; None where nobody can."""
    if not samples or (most is None and not max(samples)):
        return None
    ordered = sorted(samples.elements())
    return {
        **{f"p{percent}": percentile(ordered, percent) for percent in (50, 75, 90)},
        "most": ordered[-1],
        "cap": most,
        "at_cap": None if most is None else samples[most] / len(ordered),
    }


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None
