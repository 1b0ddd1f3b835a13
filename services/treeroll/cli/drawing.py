"""Drawing a tree in the terminal: one line per stretch without forks, leaves coloured by reward."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text
from rich.tree import Tree

from treeroll.cli.console import clip, clip_start, number, plain, table
from treeroll.cli.trees import LeafView, NodeView, TreeView
from treeroll.errors import InvalidInput
from treeroll.policies.registry import sentences
from treeroll.records.fields import TREE_COLUMNS, TreeRow
from treeroll.results import explain

SNIPPET_CHARS = 56
LEAF_SNIPPET_CHARS = 28
PROMPT_CHARS = 400
TREE_CHARS = 8  # of an id in a list: enough to name a tree by

BETTER, WORSE, BETWEEN, UNSCORED = ("green", "+"), ("red", "-"), ("yellow", "~"), ("dim", "?")
# The simplest way to start a branch is not worth a word.
_TELLING = frozenset({"fallback"})
# Statuses of trees that did not end by themselves, or without a sample.
CUT = frozenset({"partial", "failed"})


def draw(view: TreeView, *, full: bool = False) -> RenderableType:
    """Header and tree. All text of tasks and models is shown as plain characters."""
    scored = [reward for reward in view.rewards if reward is not None]
    scale = (min(scored), max(scored)) if scored else None
    top = Tree(Text(f"prompt  {view.root.tokens} tokens", style="bold"), guide_style="dim")
    # Depth is bounded by the model's context, not by Python's stack: no recursion.
    open_places = [(top, child, "") for child in reversed(view.root.children)]
    while open_places:
        place, node, above = open_places.pop()
        stretch = _stretch(node)
        branch = place.add(_line(stretch, above, scale, full))
        open_places += [(branch, child, stretch[-1].path) for child in reversed(stretch[-1].children)]
    return Group(*_header(view, full), top, _legend(scale))


def _stretch(node: NodeView) -> list[NodeView]:
    """The node and those after it up to the next fork or end."""
    nodes = [node]
    while len(nodes[-1].children) == 1 and nodes[-1].leaf is None:
        nodes.append(nodes[-1].children[0])
    return nodes


def _line(stretch: Sequence[NodeView], above: str, scale: tuple[float, float] | None, full: bool) -> Text:
    first, last = stretch[0], stretch[-1]
    tokens = sum(node.tokens for node in stretch)
    sampled = tokens - sum(node.given for node in stretch)
    mean = sum(node.logprob_sum for node in stretch) / sampled if sampled else 0.0
    line = Text(no_wrap=not full, overflow="ellipsis")
    line.append(_name(last.path, above), style="bold")
    line.append(f"  {tokens} tok  {mean:.2f}  ", style="cyan")
    if first.branch_reason in _TELLING:
        line.append(f"{first.branch_reason}  ", style="magenta")
    if last.leaf is not None:
        _append_leaf(line, last, last.leaf, scale)
    elif not last.children:
        line.append(f"{last.status} {last.stop_reason}".strip() + "  ", style="dim italic")
    text = plain("".join(node.text for node in stretch))
    line.append(text if full else _snippet(text, at_end=not last.children), style="dim")
    return line


def _snippet(text: str, *, at_end: bool) -> str:
    """The beginning of a text that goes on; the end of one that ends here, where its answer is."""
    return clip_start(text, LEAF_SNIPPET_CHARS) if at_end else clip(text, SNIPPET_CHARS)


def _append_leaf(line: Text, node: NodeView, leaf: LeafView, scale: tuple[float, float] | None) -> None:
    color, mark = _grade(leaf.reward, scale)
    reward = leaf.reward_status if leaf.reward is None else f"{leaf.reward:g}"
    line.append(f"{mark} reward {reward}", style=color)
    if leaf.advantage is not None:
        line.append(f"  adv {leaf.advantage:+.3f}", style=color)
    line.append(f"  {plain(node.stop_reason)}  ", style="italic")


def _grade(reward: float | None, scale: tuple[float, float] | None) -> tuple[str, str]:
    """Colour and mark, relative to the tree's best and worst; the mark is for those who see no colour."""
    if reward is None or scale is None:
        return UNSCORED
    low, high = scale
    if low == high:
        return BETTER if reward > 0 else WORSE
    return BETTER if reward == high else WORSE if reward == low else BETWEEN


def _name(path: str, above: str) -> str:
    """The part of a path below the last fork, shortened where it only runs on."""
    steps = path[len(above) :].strip(".").split(".")
    if len(steps) > 4:
        steps = [*steps[:2], "…", steps[-1]]
    return ("." if above else "") + ".".join(steps)


def _header(view: TreeView, full: bool) -> list[Text]:
    prompt = plain(view.prompt)
    delivered = sum(view.sample_tokens)
    shared = f", sharing {delivered / view.unique_tokens:.2f}" if view.unique_tokens else ""
    rewards = [reward for reward in view.rewards if reward is not None]
    mean = f", mean reward {number(sum(rewards) / len(rewards))}" if rewards else ""
    status = f" ({view.status})" if view.status else ""
    lines = [
        ("tree", f"{view.tree_id}{status}, task {plain(view.task_id or '-')}"),
        ("prompt", prompt if full else clip(prompt, PROMPT_CHARS)),
        ("answer", plain(view.answer) if view.answer is not None else "-"),
        (
            "totals",
            f"{view.nodes} nodes, {len(view.sample_tokens)} leaves, {number(view.unique_tokens)} tokens generated for "
            f"{number(delivered)} in samples{shared}{mean}",
        ),
    ]
    if view.row is not None and view.row.status in CUT:
        lines.insert(1, ("ended", _ending(view.row)))
    return _facts(lines)


def _facts(lines: Sequence[tuple[str, str]]) -> list[Text]:
    return [Text.assemble((f"{name:<8}", "bold"), text) for name, text in lines]


def _ending(row: TreeRow) -> str:
    """Why a tree is not whole, and what is missing of it."""
    reason = f"{row.stop_reason}: " if row.stop_reason else ""
    missing = f"; {row.n_leaves} of at most {row.most_leaves} leaves, {row.n_censored} branches were cut"
    wasted = f", {number(row.wasted_tokens)} of {number(row.spent)} tokens wasted"
    return f"{reason}{plain(row.error)}{missing}{wasted}"


def without_sample(row: TreeRow) -> RenderableType:
    """What became of a task that ended without a sample."""
    replicas = ", ".join(map(plain, row.replicas)) or "no replica"
    lines = [
        ("tree", f"{row.tree_id} ({row.status}), task {plain(row.task_id)}"),
        ("ended", _ending(row)),
        ("totals", f"no sample; {row.wall_s:.1f} s on {replicas}"),
    ]
    return Group(*_facts(lines))


def why(view: TreeView, path: str) -> RenderableType:
    """The decisions about one node. InvalidInput if the tree has none of this path."""
    steps = explain.lineage(view.records, path.strip("."))
    if not steps:
        raise InvalidInput(
            f"tree {view.tree_id} has no node {path}; a path is the indices from the prompt down, joined by dots"
        )
    tree = {} if view.row is None else {column.name: getattr(view.row, column.name) for column in TREE_COLUMNS}
    explains = sentences()
    said = [
        ("node", f"{path or 'prompt'} of tree {view.tree_id}"),
        ("begun", explain.begun(steps, explains)),
        ("waited", explain.waited(steps[-1])),
        ("ended", explain.ended(steps[-1], tree, explains)),
        ("leaves", explain.allotted(tree, explains)),
    ]
    return Group(*_facts([(name, plain(text)) for name, text in said if text is not None]))


def listing(rows: Sequence[TreeRow]) -> RenderableType:
    """One line per task: how its tree ended and what it cost."""
    columns = ("task", "tree", "status", "cut by", ">leaves", ">tokens", ">wasted", ">seconds")
    lines = [
        (
            plain(row.task_id),
            row.tree_id[:TREE_CHARS],
            row.status,
            row.stop_reason,
            f"{row.n_leaves}/{row.most_leaves}",
            number(row.spent),
            number(row.wasted_tokens),
            f"{row.wall_s:.1f}",
        )
        for row in rows
    ]
    return table("", columns, lines)


def _legend(scale: tuple[float, float] | None) -> Text:
    grades = (("better", BETTER), ("between", BETWEEN), ("worse", WORSE)) if scale else (("no reward", UNSCORED),)
    shown = Text("tok: tokens, then mean logprob of the sampled ones;  leaves:")
    for name, (color, mark) in grades:
        shown.append(f"  {mark} {name}", style=color)
    return shown
