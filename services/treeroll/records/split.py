"""Node messages of which some begin inside their parents: what a path's tokens and text are, and the split tree."""

from collections.abc import Sequence

from treeroll.pb.v1 import common_pb2 as pb
from treeroll.tree.splits import Head, Split, split

BYTES = 4  # of a token id, a logprob or an entropy


def path_tokens(prompt_ids: bytes, path: Sequence[pb.Node]) -> bytes:
    """Token ids down a path of stored nodes, int32 little-endian; the last node is whole."""
    ids = bytearray(prompt_ids)
    for node in path:
        del ids[BYTES * node.token_start :]
        ids += node.token_ids
    return bytes(ids)


def path_text(path: Sequence[pb.Node]) -> str:
    """Completion text down a path of stored nodes; the last node is whole."""
    texts: list[str] = []
    for node in path:
        if node.HasField("parent_chars"):
            texts[-1] = texts[-1][: node.parent_chars]
        texts.append(node.text)
    return "".join(texts)


def split_nodes(tree: pb.Tree) -> None:
    """Split every node that another begins inside of, in place. A tree that is split already stays as it is.

    The parts are appended; a node keeps its number and what lies behind its last split.
    """
    nodes = sorted(tree.nodes, key=lambda node: node.number)
    starts = [node.token_start for node in nodes]
    done = split([node.parent for node in nodes], starts, [len(node.token_ids) // BYTES for node in nodes])
    if not done.heads:
        return
    tree.has_cuts = True
    chars = {(node.parent, node.token_start): node.parent_chars for node in nodes}
    for number, head in enumerate(done.heads, len(nodes)):
        node = nodes[head.node]
        text_start = chars.get((head.node, node.token_start + head.start), 0)
        text_end = chars[head.node, node.token_start + head.end]
        tree.nodes.append(_head(node, number, head, node.text[text_start:text_end]))
    _leave_tails(nodes, done, chars)
    for node, parent in zip((*nodes, *tree.nodes[len(nodes) :]), done.parents, strict=True):
        node.parent = parent


def _head(node: pb.Node, number: int, head: Head, text: str) -> pb.Node:
    """A part of the node, as it would have been recorded had its segment ended there."""
    part = pb.Node()
    part.CopyFrom(node)
    part.number, part.token_start = number, node.token_start + head.start
    part.status, part.stop_reason, part.text = "inner", "", text
    part.dropped_tokens = part.observation_tokens = part.observation_chars = 0
    part.end = ""
    part.ClearField("ended_by")
    del part.rewards[:]
    _keep_tokens(part, head.start, head.end)
    if head.start:
        _continues(part)
    return part


def _leave_tails(nodes: list[pb.Node], done: Split, chars: dict[tuple[int, int], int]) -> None:
    for number, start in done.tails().items():
        node = nodes[number]
        node.text = node.text[chars[number, node.token_start + start] :]
        node.token_start += start
        _keep_tokens(node, start, start + len(node.token_ids) // BYTES)
        _continues(node)


def _continues(part: pb.Node) -> None:
    """The part of a node behind a split: the request that made it did not begin there."""
    part.sibling_index = 0
    for field in (
        "cached_tokens",
        "recomputed_tokens",
        "parent_chars",
        "inserted_tokens",
        "why",
        "waited_s",
        "masked_by",
    ):
        part.ClearField(field)


def _keep_tokens(part: pb.Node, start: int, end: int) -> None:
    """Leave only the tokens [start, end)."""
    kept = slice(BYTES * start, BYTES * end)
    part.token_ids, part.logprobs, part.entropies = part.token_ids[kept], part.logprobs[kept], part.entropies[kept]
    sampled = slice(max(0, start - part.inserted_tokens), max(0, end - part.inserted_tokens))
    versions = [span.version for span in part.weight_versions for _ in range(span.tokens)][sampled]
    del part.weight_versions[:]
    for version in versions:
        if part.weight_versions and part.weight_versions[-1].version == version:
            part.weight_versions[-1].tokens += 1
        else:
            part.weight_versions.add(version=version, tokens=1)
