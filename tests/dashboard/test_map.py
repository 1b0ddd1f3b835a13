"""The maps of a tree and of a run: cells of the right size, none thin, and a way through them by keys and clicks."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, expect
from tests.dashboard.watched import Watched, look
from tests.support.rollouts import grown_trees

from treeroll.dashboard.sources.results import ResultSource

pytestmark = pytest.mark.browser

# A lopsided tree of `upto` nodes, the same for the same seed; its cells in a box of 900 x 400.
CELLS = """async ([upto, seed]) => {
  const [{ Nodes, Order }, { layout, tokensBelow }, { area, middle, thinness }] = await Promise.all(
    ["shape", "cells", "polygons"].map((name) => import(`/static/js/${name}.js`)));
  const chance = () => { seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0; return seed / 2 ** 32; };
  const nodes = new Nodes(upto), children = new Uint16Array(upto);
  nodes.tokens[0] = 400;
  for (let i = 1; i < upto; i++) {
    const up = chance() < 0.5 ? Math.max(0, i - 1 - Math.floor(chance() * 40)) : Math.floor(chance() * i);
    nodes.parent[i] = up;
    nodes.sibling[i] = children[up]++;
    nodes.tokens[i] = 64 + Math.floor(chance() * 128);
    nodes.token_start[i] = nodes.token_start[up] + nodes.tokens[up];
  }
  nodes.count = upto;
  const order = new Order(nodes), sums = tokensBelow(order);
  const { cells } = layout(order, sums, 0, 900, 400);
  return { tokens: sums[0], cells: cells.map(({ place, kind, polygon, ranges }) => {
    let tokens = 0, nodes = 0;
    for (let k = 0; k < ranges.length; k += 2) {
      for (let at = ranges[k]; at < ranges[k + 1]; at++) { tokens += order.stop[at] - order.start[at]; nodes += 1; }
    }
    const shape = { area: area(polygon), thin: thinness(polygon), middle: middle(polygon) };
    return { name: `${order.path(place)} ${kind}`, ...shape, tokens, nodes };
  }) };
}"""
# The browser says how large an element is when `measure` is called, not before.
HELD_SIZES = """const sized = new Promise((go) => { window.measure = go; });
window.ResizeObserver = class extends ResizeObserver {
  constructor(told) { super((...said) => sized.then(() => told(...said))); }
};"""
FRAMES = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
SEVERAL = re.compile(r"^([2-9]|\d\d+)$")
BOX = 900 * 400
DIAGONAL = (900**2 + 400**2) ** 0.5
MOST_CELLS = 500


@pytest.fixture
def watched(chromium: Browser, source: ResultSource) -> Iterator[Watched]:
    yield from look(chromium, source)


def cells(watched: Watched, nodes: int, seed: int) -> list[dict[str, Any]]:
    made = watched.page.evaluate(CELLS, [nodes, seed])
    for cell in made["cells"]:
        assert cell["area"] == pytest.approx(BOX * cell["tokens"] / made["tokens"], rel=1e-6)
    return list(made["cells"])


@pytest.mark.parametrize("nodes", [1, 2, 79, 3_000, 100_000])
def test_each_node_is_in_one_cell_as_large_as_its_tokens_and_no_cell_is_thin(watched: Watched, nodes: int) -> None:
    watched.open("/about")
    found = cells(watched, nodes, seed=nodes)
    assert sum(cell["nodes"] for cell in found) == nodes
    assert len(found) <= MOST_CELLS
    thin = sorted(cell["thin"] for cell in found)  # squared diameter by area: a square has 2
    assert thin[int(0.95 * len(thin))] < 8
    assert thin[-1] < 20


def test_a_tree_that_grows_leaves_its_cells_about_where_they_were(watched: Watched) -> None:
    watched.open("/about")
    before = {cell["name"]: cell["middle"] for cell in cells(watched, 3_000, seed=3)}
    after = {cell["name"]: cell["middle"] for cell in cells(watched, 3_030, seed=3)}
    both = before.keys() & after.keys()
    assert len(both) > 0.9 * len(before)
    moved = sorted(sum((a - b) ** 2 for a, b in zip(before[name], after[name], strict=True)) ** 0.5 for name in both)
    assert moved[len(moved) // 2] < 0.01 * DIAGONAL
    assert moved[int(0.9 * len(moved))] < 0.05 * DIAGONAL


def test_the_map_of_a_tree_is_a_click_away_and_leads_into_its_parts(watched: Watched) -> None:
    tree = max(grown_trees(), key=lambda one: len(one.nodes))
    page = watched.page
    watched.open(f"/trees/{tree.tree_id}")
    page.get_by_role("link", name="map", exact=True).click()
    drawn = page.locator(f".tree-map[data-drawn='{len(tree.nodes)}']")
    expect(drawn).to_be_visible()
    expect(drawn).to_have_attribute("data-cells", SEVERAL)
    drawn.click(position={"x": 20, "y": 20})
    expect(page.locator(".details h2")).not_to_have_text("Prompt")
    expect(page).to_have_url(re.compile("node="))
    page.keyboard.press("0")
    watched.open(f"/trees/{tree.tree_id}?view=map&node=0")
    expect(drawn).to_be_visible()
    page.keyboard.press("+")
    below = sum(node.path == "0" or node.path.startswith("0.") for node in tree.nodes)
    expect(page.locator(".lanes")).to_contain_text(f"{below:,} of {len(tree.nodes):,} nodes")
    page.get_by_role("button", name="out", exact=True).click()
    expect(page.locator(".lanes")).not_to_contain_text("of the tokens")
    page.get_by_role("link", name="lanes", exact=True).click()
    expect(page.locator(".tree-map")).to_have_count(0)
    expect(page.locator(".lanes-canvas[data-drawn]")).to_be_visible()


def test_a_map_is_drawn_when_it_has_a_size_and_not_before(watched: Watched) -> None:
    page = watched.page
    page.add_init_script(HELD_SIZES)
    watched.open(f"/trees/{grown_trees()[0].tree_id}?view=map")
    expect(page.locator(".tree-map")).to_be_visible()
    page.evaluate(FRAMES)
    expect(page.locator(".tree-map[data-drawn]")).to_have_count(0)
    page.evaluate("measure()")
    expect(page.locator(".tree-map[data-drawn]")).to_have_attribute("data-cells", SEVERAL)


def test_the_map_of_a_run_has_a_cell_for_each_tree_that_leads_to_it(watched: Watched) -> None:
    page = watched.page
    watched.open("/runs/run")
    drawn = page.locator(f".run-map[data-cells='{len(grown_trees())}']")
    expect(drawn).to_be_visible()
    page.get_by_label("colour").select_option(label="spread")
    drawn.hover(position={"x": 30, "y": 30})
    expect(page.locator(".tip")).to_contain_text("tok")
    name = page.locator(".tip .mono").inner_text()
    drawn.click(position={"x": 30, "y": 30})
    expect(page.locator("h1")).to_contain_text(name)
