"""Settings of different policies that cannot work together: each refusal names both and says what to change."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict

from treeroll.policies import registry
from treeroll.policies.branch.fanout_growth import FanoutPolicy
from treeroll.policies.policies import Policies
from treeroll.policies.prune.finish_tests import FinishTests
from treeroll.policies.recipe import Choice
from treeroll.policy.base import Limits


def clashes(policies: Policies, chosen: Mapping[str, Choice], limits: Limits) -> Iterator[str]:
    """A sentence for each clash; none if the policies of a run fit each other and its limits."""
    yield from _paths_that_must_wait(policies, chosen)
    # One token of prompt, blocks of one and all the room asked for: no tree has more boundaries than this.
    ends = policies.segment.boundaries(1, 1, 1 + limits.max_tokens)
    shape = _settings({**chosen["segment"].params, **asdict(limits)}, without=("leaves", "hold", "aligned"))
    segment = f"segment policy '{chosen['segment'].name}'"
    branch, prune = policies.branch, policies.prune
    if isinstance(branch, FanoutPolicy) and len(branch.fanouts) > len(ends):
        yield (
            f"branch policy '{chosen['branch'].name}': {branch.settings} asks for forks at {len(branch.fanouts)} "
            f"depths, but with {segment} no path is deeper than {len(ends)} ({shape}); fork at fewer depths or allow "
            "more segments"
        )
    if isinstance(prune, FinishTests) and prune.min_tokens > ends[-1] - 1:
        yield (
            f"prune policy '{chosen['prune'].name}': min_tokens {prune.min_tokens} is above the {ends[-1] - 1} tokens "
            f"that {segment} gives a path ({shape}), so all would be discarded; lower min_tokens or allow longer paths"
        )


def entropy_clashes(policies: Policies, top_logprobs: int, vocabulary: int) -> Iterator[str]:
    """A sentence for each policy that would never get the entropies it decides by.

    They are estimated from `top_logprobs` candidates: upper bounds, which may exceed ln(top_logprobs) and reach
    ln(vocabulary), where nothing is known but that all tokens are equally likely.
    """
    for kind, policy in (("branch", policies.branch), ("prune", policies.prune)):
        if (needed := policy.needs.entropy) is None:
            continue
        if top_logprobs == 0:
            yield (
                f"{kind} policy '{policy.name}' reads the entropies of tokens, but top_logprobs is 0, so there are "
                "none; set top_logprobs to 1 or more"
            )
        if needed > math.log(vocabulary):
            yield (
                f"{kind} policy '{policy.name}' waits for an entropy of {needed:g} nats, but no token of a model "
                f"whose vocabulary is {vocabulary} has more than {math.log(vocabulary):.3g}; lower its thresholds"
            )


def _paths_that_must_wait(policies: Policies, chosen: Mapping[str, Choice]) -> Iterator[str]:
    if not policies.branch.needs.hold or policies.segment.hold:
        return
    name = chosen["segment"].name
    can = "hold" in registry.find("segment", name).Params.model_fields
    yield (
        f"branch policy '{chosen['branch'].name}' chooses which paths go on, so they must wait at boundaries, but "
        f"segment policy '{name}' lets them run; {'set' if can else 'choose one that has'} segment.hold"
    )


def _settings(values: Mapping[str, object], without: tuple[str, ...]) -> str:
    return ", ".join(f"{key} {value}" for key, value in values.items() if key not in without)
