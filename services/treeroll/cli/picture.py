"""A tree as an SVG picture: one lane per leaf, tokens from left to right, and a block for what lanes share."""

from collections.abc import Iterator
from dataclasses import dataclass
from xml.sax.saxutils import escape

from treeroll.cli.console import clip, number, plain
from treeroll.cli.trees import NodeView, TreeView

WIDTH, HEAD, FOOT = 1000, 46, 30
# The prompt is not drawn to scale; behind the longest lane its reward has room.
PROMPT, MARGIN = 76, 30
LANE_MOST, LANE_LEAST, PICTURE_MOST = 28.0, 1.0, 4000.0
# Of a monospace font of 10 pixels, and the least block that is worth a text.
CHAR_WIDTH, TEXT_LEAST = 6.05, 20.0
# Worse and better than the tree's mean, at most this far from white: colours that the colour-blind can tell apart.
WORSE, BETTER, UNSCORED = (217, 119, 23), (38, 110, 179), "#c9c9c9"
GROW_S = 5.0

STYLE = f"""
text {{ font: 10px ui-monospace, Menlo, Consolas, monospace; fill: #1b1b1b }}
.title {{ font: bold 13px system-ui, sans-serif }} .small {{ font: 11px system-ui, sans-serif; fill: #555 }}
rect {{ stroke: #fff; stroke-width: 1 }}
@media (prefers-reduced-motion: no-preference) {{
  .grown {{ animation: grow {GROW_S / 4:g}s ease-out both; transform-box: fill-box; transform-origin: left }}
  text.grown {{ animation-name: show }}
}}
@keyframes grow {{ from {{ transform: scaleX(0) }} }}
@keyframes show {{ from {{ opacity: 0 }} 60% {{ opacity: 0 }} }}
"""


@dataclass(frozen=True, slots=True)
class _Block:
    """A node in tokens and lanes."""

    node: NodeView
    start: int  # tokens of the path before it
    lane: int  # the first of its lanes
    lanes: int
    value: float | None  # mean reward of the leaves below; None if none has any


def svg(view: TreeView) -> str:
    """The picture, as a file of its own. It grows when it is opened, unless the reader wants less motion.

    All text of tasks and models is shown as plain characters.
    """
    blocks = list(_blocks(view.root))
    lanes = blocks[0].lanes
    lane = min(LANE_MOST, max(LANE_LEAST, PICTURE_MOST / lanes))
    longest = max((block.start + block.node.tokens for block in blocks), default=0) or 1
    scale = (WIDTH - PROMPT - MARGIN) / longest
    height = HEAD + lane * lanes + FOOT
    scored = [reward for reward in view.rewards if reward is not None]
    mean = sum(scored) / len(scored) if scored else 0.0
    spread = max((abs(reward - mean) for reward in scored), default=0.0) or 1.0
    shapes = [shape for block in blocks for shape in _shapes(block, lane, scale, longest, mean, spread)]
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" role="img">',
        f"<style>{STYLE}</style>",
        f'<rect width="{WIDTH}" height="{height:g}" fill="#fff"/>',
        *_words(view, height),
        *shapes,
        "</svg>",
        "",
    ])  # fmt: skip


def _blocks(root: NodeView) -> Iterator[_Block]:
    """The prompt first, parents before children. A model's context, not Python's stack, bounds the depth."""
    order, places = [root], [root]
    while places:
        node = places.pop()
        places += node.children
        order += node.children
    lanes: dict[int, int] = {}
    sums: dict[int, tuple[float, int]] = {}
    for node in reversed(order):
        below = [id(child) for child in node.children]
        own = (node.leaf.reward, 1) if node.leaf is not None and node.leaf.reward is not None else (0.0, 0)
        lanes[id(node)] = sum(lanes[child] for child in below) + (node.leaf is not None and bool(below)) or 1
        sums[id(node)] = (
            own[0] + sum(sums[child][0] for child in below),
            own[1] + sum(sums[child][1] for child in below),
        )
    open_ = [(root, 0, 0)]
    while open_:
        node, start, lane = open_.pop()
        total, count = sums[id(node)]
        yield _Block(node, start, lane, lanes[id(node)], total / count if count else None)
        after = start + (node.tokens if node is not root else 0)
        for child in node.children:
            open_.append((child, after, lane))
            lane += lanes[id(child)]


def _shapes(block: _Block, lane: float, scale: float, longest: int, mean: float, spread: float) -> Iterator[str]:
    node, is_prompt = block.node, not block.node.path
    x, width = (0.0, PROMPT) if is_prompt else (PROMPT + block.start * scale, node.tokens * scale)
    y, height = HEAD + block.lane * lane, block.lanes * lane
    colour = "#ded9d4" if is_prompt else _colour(block.value, mean, spread)
    delay = 0.0 if is_prompt else GROW_S * 3 / 4 * block.start / longest
    moves = f'class="grown" style="animation-delay:{delay:.2f}s"'
    title = f"{node.path or 'prompt'}: {number(node.tokens)} tokens"
    if block.value is not None:
        title += f", mean reward {block.value:.3g}"
    if node.stop_reason:
        title += f", {node.stop_reason}"
    yield (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{colour}" {moves}>'
        f"<title>{_xml(title)}</title></rect>"
    )
    room = int((width - 6) / CHAR_WIDTH)
    if width >= TEXT_LEAST and height >= 11 and room > 1:
        words = clip(plain(node.text.strip()), room)
        yield f'<text x="{x + 4:.1f}" y="{y + min(height / 2, 14) + 3:.1f}" {moves}>{_xml(words)}</text>'
    if node.leaf is not None and node.leaf.reward is not None and lane >= 11:
        yield (
            f'<text x="{x + width + 4:.1f}" y="{y + height - lane / 2 + 4:.1f}" {moves}>{node.leaf.reward:.2g}</text>'
        )


def _colour(value: float | None, mean: float, spread: float) -> str:
    if value is None:
        return UNSCORED
    share = min(1.0, abs(value - mean) / spread) * 0.75
    target = BETTER if value > mean else WORSE
    return "#" + "".join(f"{round(245 + (channel - 245) * share):02x}" for channel in target)


def _words(view: TreeView, height: float) -> Iterator[str]:
    total = sum(view.sample_tokens)
    shared = f", sharing {total / view.unique_tokens:.2f}" if view.unique_tokens else ""
    figures = (
        f"{number(len(view.rewards))} leaves, {number(view.unique_tokens)} tokens generated for "
        f"{number(total)} in samples{shared}"
    )
    task = f"task {view.task_id}" if view.task_id else f"tree {view.tree_id}"
    head = f"{task}: {' '.join(plain(view.prompt).split())}"
    yield f'<text class="title" x="4" y="16">{_xml(clip(head, 120))}</text>'
    yield f'<text class="small" x="4" y="34">{_xml(figures)}</text>'
    better, worse = _colour(1.0, 0.0, 1.0), _colour(-1.0, 0.0, 1.0)
    y = height - 18
    yield f'<rect x="4" y="{y:g}" width="12" height="12" fill="{better}"/>'
    yield f'<rect x="180" y="{y:g}" width="12" height="12" fill="{worse}"/>'
    yield f'<text class="small" x="20" y="{y + 10:g}">better than the tree\'s mean</text>'
    yield f'<text class="small" x="196" y="{y + 10:g}">worse; the number behind a lane is its reward</text>'


def _xml(text: str) -> str:
    """Text for XML, which has no way to write most control characters."""
    return escape("".join(char if char.isprintable() else "�" for char in text))
