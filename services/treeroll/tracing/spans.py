"""From a stored tree to the spans of its trace. Names of attributes are OpenTelemetry's for generative AI where it has
any; no text of prompts or completions is in them.

treeroll.task > treeroll.tree > treeroll.branch, one for each grant, > the engine's own span of its request;
treeroll.score and treeroll.delivery below the tree. https://opentelemetry.io/docs/specs/semconv/gen-ai/
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.util.types import AttributeValue

from treeroll import __version__
from treeroll.pb.v1 import common_pb2 as pb
from treeroll.tracing import names
from treeroll.tree.tree import SPLIT

SCOPE = InstrumentationScope("treeroll", __version__)
BAD = {"failed": StatusCode.ERROR, "partial": StatusCode.ERROR}


@dataclass(slots=True)
class Grant:
    """The nodes of one engine request, in order."""

    path: str
    nodes: list[pb.Node] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Delivered:
    """A tree's way to a consumer, from its lease to what became of it."""

    tree_id: str
    run_id: str
    group: str
    times: int
    began: float
    """Seconds since the Unix epoch, as the next."""
    ended: float
    outcome: str
    """"acknowledged", "released" or "lost"."""
    asked_by: str = ""
    """The traceparent of who leased it; "" if there is none."""


def of_tree(tree: pb.Tree, submitted_by: str, resource: Resource) -> Iterator[ReadableSpan]:
    """The spans of a tree that has ended, with its nodes by number as they are stored.

    `submitted_by` is the traceparent of who submitted its task; "" if there is none.
    """
    tree_id = tree.tree_id
    task, own = (names.span_id(tree_id, kind) for kind in ("task", "tree"))
    about = {"treeroll.run": tree.run_id, "treeroll.task": tree.task_id, "treeroll.tree": tree_id}
    made = _Spans(tree_id, resource)
    ended = tree.ended_at or max((node.finished_at for node in tree.nodes), default=tree.submitted_at)
    began = tree.started_at or ended
    status = Status(BAD.get(tree.status, StatusCode.OK), tree.error if tree.status in BAD else None)
    yield made.span("treeroll.task", task, None, (tree.submitted_at or began, ended), about, _link(submitted_by))
    figures: dict[str, AttributeValue] = {
        **about,
        "treeroll.status": tree.status,
        "treeroll.reason": tree.stop_reason,
        "treeroll.leaves": len(tree.leaves),
        "gen_ai.usage.output_tokens": tree.ledger.spent,
        "gen_ai.request.temperature": tree.temperature,
        "gen_ai.request.top_p": tree.top_p,
        "gen_ai.request.top_k": tree.top_k,
    }
    yield made.span("treeroll.tree", own, task, (began, ended), figures, status=status)
    for grant in grants(tree):
        yield made.branch(grant, own)
    if scored := _scored(tree):
        grown = max((node.finished_at for node in tree.nodes), default=began)
        yield made.span("treeroll.score", names.span_id(tree_id, "score"), own, (min(grown, ended), ended), scored)


def of_delivery(delivered: Delivered, resource: Resource) -> ReadableSpan:
    """The span of one delivery."""
    tree_id = delivered.tree_id
    about: dict[str, AttributeValue] = {
        "treeroll.run": delivered.run_id,
        "treeroll.tree": tree_id,
        "treeroll.group": delivered.group,
        "treeroll.times_delivered": delivered.times,
        "treeroll.outcome": delivered.outcome,
    }
    own = names.delivery_span(tree_id, delivered.group, delivered.times)
    above = names.span_id(tree_id, "tree")
    made, link = _Spans(tree_id, resource), _link(delivered.asked_by)
    return made.span("treeroll.delivery", own, above, (delivered.began, delivered.ended), about, link)


def grants(tree: pb.Tree) -> list[Grant]:
    """The tree's engine requests that made any node: a node says so where one began, and those behind it are its."""
    paths: dict[int, str] = {0: ""}
    found: list[Grant] = []
    of_node: dict[int, Grant] = {}
    nodes = {node.number: node for node in tree.nodes}
    for node in tree.nodes:
        if not node.number:
            continue
        paths[node.number] = _path(node, nodes[node.parent], paths[node.parent])
        grant = of_node.get(node.parent)
        if node.HasField("cached_tokens") or grant is None:
            grant = Grant(paths[node.number])
            found.append(grant)
        grant.nodes.append(node)
        of_node[node.number] = grant
    return found


def _path(node: pb.Node, parent: pb.Node, above: str) -> str:
    """As the core writes it of a tree that is not split: a node that begins inside its parent says where."""
    within = node.token_start - parent.token_start
    place = [above] if above else []
    if within < len(parent.token_ids) // 4:
        place.append(str(SPLIT - within))
    return ".".join([*place, str(node.sibling_index)])


def _scored(tree: pb.Tree) -> dict[str, AttributeValue]:
    """What scorers said, in the middle; nothing where none was asked."""
    rewards = [leaf.reward for leaf in tree.leaves if leaf.HasField("reward")]
    by = sorted({reward.scorer for node in tree.nodes for reward in node.rewards})
    if not rewards or not by:
        return {}
    mean = sum(rewards) / len(rewards)
    return {"gen_ai.evaluation.name": ", ".join(by), "gen_ai.evaluation.score.value": mean}


class _Spans:
    """Spans of one tree."""

    def __init__(self, tree_id: str, resource: Resource) -> None:
        self._tree_id, self._trace, self._resource = tree_id, names.trace_id(tree_id), resource

    def span(
        self,
        name: str,
        own: int,
        parent: int | None,
        when: tuple[float, float],
        about: Mapping[str, AttributeValue],
        links: tuple[Link, ...] = (),
        status: Status | None = None,
        events: tuple[Event, ...] = (),
    ) -> ReadableSpan:
        """One that has ended; from when to when, in seconds since the Unix epoch."""
        began, ended = when
        return ReadableSpan(
            name,
            context=_context(self._trace, own),
            parent=_context(self._trace, parent) if parent is not None else None,
            resource=self._resource,
            attributes=about,
            events=events,
            links=links,
            kind=SpanKind.INTERNAL,
            status=status or Status(),
            start_time=_ns(began),
            end_time=_ns(max(began, ended)),
            instrumentation_scope=SCOPE,
        )

    def branch(self, grant: Grant, parent: int) -> ReadableSpan:
        """Of one grant; its segments are events, since there are too many for spans."""
        first, last = grant.nodes[0], grant.nodes[-1]
        about: dict[str, AttributeValue] = {
            "treeroll.path": grant.path,
            "treeroll.reason": first.branch_reason,
            "treeroll.replica": first.replica_id,
            "treeroll.incarnation": first.incarnation,
            "treeroll.attempt": first.attempt,
            "treeroll.waited_s": first.waited_s,
            "treeroll.end": last.end,
            "gen_ai.usage.input_tokens": first.cached_tokens + first.recomputed_tokens,
            "gen_ai.usage.cache_read.input_tokens": first.cached_tokens,
            "gen_ai.usage.output_tokens": sum(len(node.token_ids) // 4 for node in grant.nodes),
        }
        segments = tuple(
            Event("segment", {"tokens": len(node.token_ids) // 4}, _ns(node.finished_at)) for node in grant.nodes
        )
        own = names.branch_span(self._tree_id, grant.path, first.attempt)
        return self.span("treeroll.branch", own, parent, (first.started_at, last.finished_at), about, events=segments)


def _context(trace: int, span: int, *, remote: bool = False) -> SpanContext:
    return SpanContext(trace, span, remote, TraceFlags(TraceFlags.SAMPLED))


def _link(header: str) -> tuple[Link, ...]:
    found = names.parent_of(header)
    return (Link(_context(*found, remote=True)),) if found else ()


def _ns(seconds: float) -> int:
    return int(seconds * 1e9)
