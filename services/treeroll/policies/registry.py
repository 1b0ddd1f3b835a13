"""The explicit table of our policies, and the one way to build any policy from a name and plain parameters."""

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, Final, Literal, get_args, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from treeroll.errors import InvalidInput
from treeroll.policies import plugins
from treeroll.policies.advantage.ancestors import AncestorsAdvantage
from treeroll.policies.advantage.deepsearch import DeepSearchAdvantage
from treeroll.policies.advantage.grpo import GRPOAdvantage
from treeroll.policies.advantage.hbpo import HBPOAdvantage
from treeroll.policies.advantage.ib_tpo import IBTPOAdvantage
from treeroll.policies.advantage.mars2 import MARS2Advantage
from treeroll.policies.advantage.rest_mcts import RestMCTSAdvantage
from treeroll.policies.advantage.rloo import RLOOAdvantage
from treeroll.policies.advantage.segpo import SegPOAdvantage
from treeroll.policies.advantage.spo import SPOAdvantage
from treeroll.policies.advantage.tree_grpo import TreeGRPOAdvantage
from treeroll.policies.advantage.tree_seg import TreeSegAdvantage
from treeroll.policies.advantage.treepo import TreePOAdvantage
from treeroll.policies.advantage.treeps_mc import TreePSAdvantage
from treeroll.policies.advantage.treerl import TreeRLAdvantage
from treeroll.policies.advantage.treerpo import TreeRPOAdvantage
from treeroll.policies.allocate.dual_descent import DualDescent
from treeroll.policies.allocate.knapsack import Knapsack
from treeroll.policies.allocate.mcpp import MCPP
from treeroll.policies.allocate.mixed import Mixed
from treeroll.policies.allocate.neyman import Neyman
from treeroll.policies.allocate.uniform import Uniform
from treeroll.policies.branch.aepo import AEPO
from treeroll.policies.branch.arpo import ARPO
from treeroll.policies.branch.bavt import BAVT
from treeroll.policies.branch.cascade import Cascade
from treeroll.policies.branch.cost_band import CostBand
from treeroll.policies.branch.deepsearch import DeepSearch
from treeroll.policies.branch.depth_first import DepthFirst
from treeroll.policies.branch.dora import DORA
from treeroll.policies.branch.echo import ECHO
from treeroll.policies.branch.ets import ETS
from treeroll.policies.branch.flat import Flat
from treeroll.policies.branch.hbpo import HBPO
from treeroll.policies.branch.hyper import HyPER
from treeroll.policies.branch.ib_tpo import IBTPO
from treeroll.policies.branch.mars2 import MARS2
from treeroll.policies.branch.pets import PETS
from treeroll.policies.branch.pets_online import PETSOnline
from treeroll.policies.branch.rebase import REBASE
from treeroll.policies.branch.rest_mcts import RestMCTS
from treeroll.policies.branch.spo import SPO
from treeroll.policies.branch.tree_grpo import TreeGRPO
from treeroll.policies.branch.tree_planner import TreePlanner
from treeroll.policies.branch.treepo import TreePO
from treeroll.policies.branch.treeps_rag import TreePSRAG
from treeroll.policies.branch.treerl import TreeRL
from treeroll.policies.branch.treerpo import TreeRPO
from treeroll.policies.branch.uct import UCT
from treeroll.policies.placement.least_loaded import LeastLoaded
from treeroll.policies.placement.parent_affinity import ParentAffinity
from treeroll.policies.placement.round_robin import RoundRobin
from treeroll.policies.prune.confidence import Confidence
from treeroll.policies.prune.finish_tests import FinishTests
from treeroll.policies.route.threshold import Threshold
from treeroll.policies.segment.agent_step import AgentStep
from treeroll.policies.segment.delimiter import Delimited
from treeroll.policies.segment.fixed import FixedTokens
from treeroll.policies.segment.full_rollout import FullRollout
from treeroll.policies.segment.per_depth import PerDepth
from treeroll.policy.base import Limits
from treeroll.why import EXPLAINS

# A policy class has ClassVars name, summary and paper, a parameter model Params, and takes (params, limits).
PolicyClass = type[Any]

POLICIES: Final[Mapping[str, tuple[PolicyClass, ...]]] = {
    "segment": (FixedTokens, PerDepth, Delimited, AgentStep, FullRollout),
    "branch": (
        TreePO,
        Flat,
        SPO,
        TreeRPO,
        TreeGRPO,
        IBTPO,
        TreeRL,
        ARPO,
        AEPO,
        TreePSRAG,
        ECHO,
        HBPO,
        DeepSearch,
        RestMCTS,
        MARS2,
        HyPER,
        TreePlanner,
        REBASE,
        DORA,
        ETS,
        BAVT,
        UCT,
        CostBand,
        DepthFirst,
        PETS,
        PETSOnline,
        Cascade,
    ),
    "prune": (FinishTests, Confidence),
    "advantage": (
        TreePOAdvantage,
        GRPOAdvantage,
        RLOOAdvantage,
        AncestorsAdvantage,
        TreeSegAdvantage,
        SegPOAdvantage,
        TreeRLAdvantage,
        TreeGRPOAdvantage,
        HBPOAdvantage,
        SPOAdvantage,
        TreeRPOAdvantage,
        TreePSAdvantage,
        IBTPOAdvantage,
        MARS2Advantage,
        DeepSearchAdvantage,
        RestMCTSAdvantage,
    ),
    "placement": (ParentAffinity, LeastLoaded, RoundRobin),
    "allocate": (Uniform, Mixed, Neyman, Knapsack, DualDescent, MCPP),
    "route": (Threshold,),
}

# Longest echo of a wrong value in a message.
ECHO_CHARS = 60


@dataclass(frozen=True, slots=True)
class ParameterRow:
    """One parameter as people read it."""

    name: str
    type: str
    default: str
    bounds: str
    description: str


@dataclass(frozen=True, slots=True)
class PolicyRow:
    """One policy as people read it; `rule` is its docstring's paragraphs, `code` the name of its class."""

    kind: str
    name: str
    summary: str
    rule: tuple[str, ...]
    paper: str
    code: str
    parameters: tuple[ParameterRow, ...]
    explains: Mapping[str, str]
    """Sentences of its rules, as in `treeroll.why`."""


def find(kind: str, name: str) -> PolicyClass:
    """The class of a kind and a name: one of ours, or one that another distribution declares."""
    if kind not in POLICIES:
        raise InvalidInput(f"there is no policy kind {echo(kind)}; the kinds are {', '.join(POLICIES)}")
    ours = {policy.name: policy for policy in POLICIES[kind]}
    policy = plugins.find(kind, name, ours) or ours.get(name)
    if policy is None:
        known = ", ".join([*ours, *plugins.names(kind)])
        raise InvalidInput(f"there is no {kind} policy {echo(name)}; there is {known}")
    return policy


def build(kind: str, name: str, params: Mapping[str, object], limits: Limits) -> Any:
    """A policy from plain values, as configuration files and requests carry them.

    Raises:
        InvalidInput: kind, name, key, value or combination is wrong; the sentence names it and what exists.
    """
    policy = find(kind, name)
    try:
        checked = policy.Params.model_validate(dict(params))
    except ValidationError as error:
        raise InvalidInput("; ".join(_sentences(f"{kind} policy '{name}'", policy, error))) from None
    return policy(checked, limits) if policy in POLICIES[kind] else plugins.build(kind, policy, checked, limits)


def describe() -> list[PolicyRow]:
    """All policies with their parameters, ours first within each kind."""
    plugins.check_names()
    return [
        _row(kind, policy)
        for kind, ours in POLICIES.items()
        for policy in (*ours, *(find(kind, name) for name in plugins.names(kind)))
    ]


def _row(kind: str, policy: PolicyClass) -> PolicyRow:
    paragraphs = inspect.cleandoc(policy.__doc__ or policy.summary).split("\n\n")
    rule = tuple(" ".join(paragraph.split()) for paragraph in paragraphs)
    code = f"{policy.__module__}.{policy.__qualname__}"
    parameters, explains = tuple(_parameters(policy)), getattr(policy, "explains", {})
    return PolicyRow(kind, policy.name, policy.summary, rule, policy.paper, code, parameters, explains)


@lru_cache(maxsize=1)
def sentences() -> Mapping[str, str]:
    """Of all rules of all policies that are here, and of the core, how to say why they fired."""
    found = dict(EXPLAINS)
    for kind in POLICIES:
        for policy in (*POLICIES[kind], *(find(kind, name) for name in plugins.names(kind))):
            found |= getattr(policy, "explains", {})
    return found


def echo(value: object) -> str:
    """A value in a message: quoted and of bounded length."""
    text = repr(value)
    return text if len(text) <= ECHO_CHARS else text[:ECHO_CHARS] + "..."


def _sentences(where: str, policy: PolicyClass, error: ValidationError) -> Iterator[str]:
    for item in error.errors(include_url=False):
        key = ".".join(map(str, item["loc"]))
        what = item["msg"].removeprefix("Value error, ").replace("Input should be", "it must be")
        if item["type"] == "extra_forbidden":
            known = ", ".join(policy.Params.model_fields) or "none"
            yield f"{where} has no parameter {echo(key)}; its parameters are: {known}"
        elif not key:
            yield f"{where}: {what}"
        else:
            yield f"{where}: {key} is {echo(item['input'])}; {what[0].lower()}{what[1:]}"


def _parameters(policy: PolicyClass) -> Iterator[ParameterRow]:
    own = policy.Params.__annotations__
    # What policies share comes last.
    for name, field in sorted(policy.Params.model_fields.items(), key=lambda item: item[0] not in own):
        default = "none" if field.default is None else str(field.default) or '""'
        yield ParameterRow(name, _type(field.annotation), default, _bounds(field), field.description or "")


def _type(annotation: Any) -> str:
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " | ".join(map(str, parts))
    if origin is Annotated:
        return _type(parts[0])
    if origin is tuple:
        return f"list of {_type(parts[0])}"
    if parts:
        return " | ".join(_type(part) for part in parts)
    return "none" if annotation is type(None) else str(getattr(annotation, "__name__", annotation))


def _bounds(field: FieldInfo) -> str:
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    found = (
        f"{sign} {getattr(limit, attribute)}"
        for limit in field.metadata
        for attribute, sign in signs.items()
        if getattr(limit, attribute, None) is not None
    )
    return ", ".join(found)
