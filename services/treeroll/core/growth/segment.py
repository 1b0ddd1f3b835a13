"""Segments become nodes: what a replica reported is checked, judged, answered by a tool, and added to its tree."""

from array import array
from functools import partial

from treeroll.core.guard.calls import NOT_ENDED, judge, observe
from treeroll.core.model.branch import Branch, BranchState
from treeroll.core.model.budget import STOP_LAG_TOKENS
from treeroll.core.model.events import EndKind, SegmentReported
from treeroll.core.model.live_tree import LiveTree
from treeroll.core.model.state import State
from treeroll.errors import BrokenInvariant
from treeroll.invariants import Invariant
from treeroll.policy.base import Ended, Segment, Verdict
from treeroll.tree.node import INNER, NOTHING, BranchReason, Content, Node, Observation, StopReason, Tokens
from treeroll.tree.tree import TAIL_CHARS, path_name

# A stop string, or a stop id of the run, is to policies what the model's end of sequence is.
ENDED = {EndKind.EOS: Ended.EOS, EndKind.STOP: Ended.EOS, EndKind.LENGTH: Ended.LIMIT}
# Looked up for every segment, see node.LEAF.
ENDS_PATH = (EndKind.EOS, EndKind.STOP)
NO_STOP = StopReason.NONE
INITIAL = BranchReason.INITIAL
RUNNING = BranchState.RUNNING


def check_report(live: LiveTree, branch: Branch, event: SegmentReported) -> None:
    """A report that cannot be of this branch is none. Raises before anything has changed."""
    if event.n_tokens and branch.state is RUNNING:
        _check_boundary(live, branch, event)
    beyond = event.n_tokens + event.dropped_tokens - branch.reserved
    if beyond > 0 and beyond + branch.overrun > STOP_LAG_TOKENS:
        detail = f"tree {live.tree_id}: a grant made {beyond + branch.overrun} tokens more than were reserved for it"
        raise BrokenInvariant(Invariant.TOKENS_CONSERVED, detail)
    if event.end is not None and not event.n_tokens and event.end is not EndKind.ERROR and branch.state is RUNNING:
        _check_empty_end(live, branch, event)


def _check_empty_end(live: LiveTree, branch: Branch, event: SegmentReported) -> None:
    """A grant that ends by itself has made something: it would be granted again and again."""
    if event.end is EndKind.HOLD or live.tree.nodes[branch.tip].grant != event.grant:
        detail = f"tree {live.tree_id}: a grant ends as '{event.end}' without a token"
        raise BrokenInvariant(Invariant.ONE_OUTCOME_PER_BRANCH, detail)


def _check_boundary(live: LiveTree, branch: Branch, event: SegmentReported) -> None:
    """A segment ends at its boundary, or before it with its path or a delimiter."""
    limit = branch.boundaries[branch.depth] if branch.depth < len(branch.boundaries) else -1
    total = branch.position + event.n_tokens
    if total > limit or (total < limit and event.end not in ENDS_PATH and not _delimited(live, branch, event)):
        name = path_name(live.tree.path(branch.tip))
        detail = f"tree {live.tree_id} node below {name or 'the root'} ends at {total}, its boundary is {limit}"
        raise BrokenInvariant(Invariant.TREE_WELL_FORMED, detail)
    inside = not branch.started and branch.total < live.tree.nodes[branch.tip].total
    if event.cuts is not inside:
        detail = f"tree {live.tree_id}: a segment that {'begins' if event.cuts else 'ends'} inside of another is none"
        raise BrokenInvariant(Invariant.TREE_WELL_FORMED, detail)


def _delimited(live: LiveTree, branch: Branch, event: SegmentReported) -> bool:
    """Whether a delimiter may have ended a segment below its limit: any but the last one that a path may have."""
    return (
        live.run.spec.segment.delimiter is not None
        and event.end is not EndKind.LENGTH
        and branch.depth + 1 < len(branch.boundaries)
    )


def read_tokens(state: State, live: LiveTree, event: SegmentReported) -> Tokens | None:
    """What the policies of such runs read. Raises before anything has changed."""
    if not event.n_tokens:
        return None
    tokens = state.settings.read_tokens(event.payload)
    counts = {len(tokens.ids), len(tokens.logprobs), len(tokens.entropies) or event.n_tokens}
    if counts != {event.n_tokens}:
        detail = f"tree {live.tree_id}: a segment of {event.n_tokens} tokens brings {sorted(counts)} ids and logprobs"
        raise BrokenInvariant(Invariant.TREE_WELL_FORMED, detail)
    return tokens


def add_node(
    state: State, live: LiveTree, branch: Branch, event: SegmentReported, tokens: Tokens | None
) -> tuple[Node, Verdict | None]:
    """Judge the segment, have its call answered if it ends with one, and make it the branch's new tip.

    The verdict is that on its path, if it ends here.
    """
    tree, depth, start = live.tree, branch.depth + 1, branch.total
    text, n_tokens, inserted = event.text, event.n_tokens, branch.inserted
    if inserted is not None:
        n_tokens += inserted.n_tokens
    tail = event.tail if branch.tail is None else branch.tail
    ended = NOT_ENDED if event.end is None else ENDED.get(event.end, NOT_ENDED)
    completion_tokens = start + n_tokens - tree.nodes[0].n_tokens
    segment = Segment(text, tail, ended, completion_tokens, depth, max_tokens=branch.max_tokens)
    if tokens is not None:
        segment.tokens, segment.recent = tokens, partial(tree.tokens_before, branch.tip, start)
    verdict, observation = judge(state, live, segment), None
    if verdict is None and event.end is EndKind.HOLD and live.run.spec.segment.tool is not None:
        observation = observe(state, live, tail + text, depth)
        if observation is not None and observation.n_tokens >= branch.boundaries[-1] - start - n_tokens:
            # Behind it is no room for a token: the path ends with its call.
            observation, segment.ended = None, Ended.LIMIT
            verdict = judge(state, live, segment)
        elif observation is not None:
            n_tokens, text = n_tokens + observation.n_tokens, text + observation.text
    if verdict is None:
        status, reason, fanout = INNER, NO_STOP, 1
    else:
        status, reason, fanout = verdict.status, verdict.reason, 0
        if event.end is EndKind.STOP and reason is StopReason.EOS:
            reason = StopReason.STOP
    logprob_sum = branch.logprob_sum + event.logprob_sum
    spec, content = live.run.spec, NOTHING
    if tokens is not None or inserted is not None or observation is not None or spec.reads_text:
        content = Content(tokens, text if spec.reads_text else None, inserted, observation)
    node = Node(
        len(tree.nodes),
        branch.tip,
        0 if branch.started else branch.sibling_index,
        depth,
        start,
        n_tokens,
        event.logprob_sum,
        event.logprob_min,
        logprob_sum,
        status,
        reason,
        fanout,
        branch.grant,
        branch.origin,
        content,
    )
    if tokens is not None:
        _surround(tokens, inserted, observation)
    tree.add(node)
    branch.inserted = None
    if not branch.started and branch.reason is not INITIAL:  # one that is cut before this was no fork
        live.run.counters.forks += 1
    branch.started, branch.tip, branch.total = True, node.number, start + n_tokens
    branch.depth, branch.logprob_sum = depth, logprob_sum
    branch.tail = text[-TAIL_CHARS:] if len(text) >= TAIL_CHARS else (tail + text)[-TAIL_CHARS:]
    return node, verdict


def _surround(tokens: Tokens, before: Observation | None, behind: Observation | None) -> None:
    """Take what nobody sampled into a node's tokens."""
    for text, at in ((before, 0), (behind, len(tokens.ids) + (before.n_tokens if before else 0))):
        if text is not None:
            zeros = array("f", bytes(len(text.ids)))
            tokens.ids[at:at] = array("i", text.ids)
            tokens.logprobs[at:at] = zeros
            if tokens.entropies:
                tokens.entropies[at:at] = zeros
