"""Pages in a real browser: what people do, by keys and clicks; hostile texts; nothing that they should not do."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect
from tests.dashboard.conftest import TOKEN, rewritten, served
from tests.dashboard.watched import HOSTILE, INJECTED, Watched, hostile, look, new_page
from tests.support.rollouts import grown_trees

from treeroll.dashboard.sources.results import ResultSource
from treeroll.results.directory import ResultDir
from treeroll.results.parts import PartWriter
from treeroll.results.session import Session

pytestmark = pytest.mark.browser

# How many colours the picture has.
COLOURS = """() => {
  const canvas = document.querySelector(".lanes-canvas");
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  const seen = new Set();
  for (let i = 0; i < data.length; i += 4) seen.add((data[i] << 16) | (data[i + 1] << 8) | data[i + 2]);
  return seen.size;
}"""


@pytest.fixture
def watched(chromium: Browser, source: ResultSource) -> Iterator[Watched]:
    yield from look(chromium, source)


def test_the_address_opens_runs_and_its_token_leaves_the_address_bar(watched: Watched) -> None:
    watched.page.goto(watched.address)
    expect(watched.page.get_by_role("link", name="run", exact=True)).to_be_visible()
    expect(watched.page).not_to_have_url(re.compile(TOKEN))
    watched.page.reload()
    expect(watched.page.get_by_role("link", name="run", exact=True)).to_be_visible()


def test_a_tree_is_two_clicks_away_and_drawn_whole(watched: Watched) -> None:
    tree = max(grown_trees(), key=lambda one: len(one.nodes))
    watched.open()
    watched.page.get_by_role("link", name="Trees", exact=True).click()
    watched.page.get_by_role("link", name=tree.tree_id[:8]).click()
    expect(watched.page.locator(f"canvas[data-drawn='{len(tree.nodes)}']")).to_be_visible()
    expect(watched.page.locator(".summary")).to_contain_text(f"{len(tree.nodes)} nodes")
    drawn = watched.page.evaluate(COLOURS)
    assert drawn > 5  # more than ground, border and grey


def test_the_largest_waste_is_two_clicks_from_the_list(watched: Watched) -> None:
    worst = max(tree.row().wasted_tokens for tree in grown_trees())
    watched.open("/trees")
    watched.page.get_by_role("link", name="Largest waste").click()
    first = watched.page.locator("tbody tr").first
    expect(first.locator("td").nth(6)).to_have_text(f"{worst:,}")
    first.click()
    expect(watched.page.locator(".lanes-canvas")).to_be_visible()


def test_searches_are_in_the_address_and_say_what_they_left_out(watched: Watched) -> None:
    watched.open("/trees")
    expect(watched.page.locator("tbody tr")).to_have_count(len(grown_trees()))  # keys are heard from then on
    watched.page.keyboard.press("/")
    watched.page.keyboard.type("arith-003")
    expect(watched.page.locator("tbody tr")).to_have_count(1)
    expect(watched.page).to_have_url(re.compile("q=arith-003"))
    watched.page.locator("#search").fill("no such task")
    expect(watched.page.get_by_text(f"0 of {len(grown_trees())} trees match.")).to_be_visible()
    watched.page.get_by_role("link", name="Clear all filters").click()
    expect(watched.page.locator("tbody tr")).to_have_count(len(grown_trees()))


def test_rows_of_another_search_are_greyed_from_the_moment_that_it_is_asked_for(watched: Watched) -> None:
    """Or a key would select one of them, and the others would take its place."""
    watched.open("/trees")
    expect(watched.page.locator("tbody tr")).to_have_count(len(grown_trees()))
    busy = (
        """async (link) => { link.click(); await null; return document.querySelectorAll("main .panel.busy").length; }"""
    )
    assert watched.page.get_by_role("link", name="Largest waste").evaluate(busy) == 1
    expect(watched.page.locator("main .panel.busy")).to_have_count(0)


def test_a_tree_is_walked_by_keys_and_its_texts_are_shown(watched: Watched) -> None:
    tree = grown_trees()[0]
    watched.open(f"/trees/{tree.tree_id}")
    expect(watched.page.locator(".lanes-canvas[data-drawn]")).to_be_visible()
    watched.page.keyboard.press("ArrowDown")  # the prompt
    watched.page.keyboard.press("ArrowRight")  # its first child
    expect(watched.page).to_have_url(re.compile("node=0"))
    node = next(node for node in tree.nodes if node.path == "0")
    shown = watched.page.locator(".details pre.text bdi").first
    expect(shown).to_have_text(node.text)
    watched.page.keyboard.press("]")
    expect(watched.page).to_have_url(re.compile("node=1"))
    watched.page.get_by_role("button", name="Show the whole path").click()
    expect(watched.page.locator(".details pre.text")).to_have_count(2)
    watched.page.keyboard.press("Escape")
    expect(watched.page.get_by_role("heading", name="Prompt")).to_be_visible()


def test_best_and_worst_leaf_are_one_key_away(watched: Watched) -> None:
    tree = next(tree for tree in grown_trees() if len({sample.reward for sample in tree.samples}) > 1)
    rewards = [sample.reward for sample in tree.samples if sample.reward is not None]
    watched.open(f"/trees/{tree.tree_id}")
    expect(watched.page.locator(".lanes-canvas[data-drawn]")).to_be_visible()
    watched.page.keyboard.press("b")
    expect(watched.page.get_by_role("heading", name="Best: ")).to_contain_text(f"reward {max(rewards):.3f}")
    expect(watched.page.get_by_role("heading", name="Worst: ")).to_contain_text(f"reward {min(rewards):.3f}")


def test_the_terms_of_a_fork_are_three_clicks_away(watched: Watched) -> None:
    tree = next(tree for tree in grown_trees() if any(node.branch_reason == "fork" for node in tree.nodes))
    watched.open()
    watched.page.get_by_role("link", name="Trees", exact=True).click()
    watched.page.get_by_role("link", name=tree.tree_id[:8]).click()
    watched.page.locator(".grid-row", has_text="fork").first.click()
    why = watched.page.locator(".details .facts > div", has=watched.page.get_by_text("why", exact=True))
    expect(why).to_contain_text(re.compile(r"a fork.*: at step \d+, \d+ live paths .* share out \d+ paths"))


def test_best_against_worst_and_the_waste_of_a_tree_are_a_click_away_on_its_page(watched: Watched) -> None:
    tree = next(tree for tree in grown_trees() if len({sample.reward for sample in tree.samples}) > 1)
    row = tree.row()
    watched.open(f"/trees/{tree.tree_id}")
    share = f"{100 * row.wasted_tokens / row.spent:.1f} %"
    expect(watched.page.locator(".summary")).to_contain_text(f"{row.spent:,} tokens, {share} in no sample")
    watched.page.get_by_label("colour").select_option(label="waste")
    expect(watched.page.locator(".legend")).to_contain_text("in no sample")
    watched.page.get_by_role("link", name="best vs worst").click()
    expect(watched.page.get_by_role("heading", name="Best: ")).to_be_visible()


def test_a_click_on_a_block_selects_the_node_that_is_there(watched: Watched) -> None:
    tree = grown_trees()[0]
    watched.open(f"/trees/{tree.tree_id}")
    canvas = watched.page.locator(".lanes-canvas[data-drawn]")
    canvas.click(position={"x": 3, "y": 60})
    expect(watched.page.locator(".details h2")).to_have_text("prompt")


@pytest.mark.parametrize("path", ["/trees/none", "/runs/none", "/feed", "/nowhere"])
def test_what_is_not_there_is_told_with_a_way_on(chromium: Browser, source: ResultSource, path: str) -> None:
    with served(source) as address, new_page(chromium) as page:
        page.goto(address.replace("/#", f"{path}#"))
        expect(page.locator(".trouble, .empty")).to_be_visible()


def test_without_the_token_the_page_says_where_to_get_it(chromium: Browser, source: ResultSource) -> None:
    with served(source) as address, new_page(chromium) as page:
        page.goto(address.partition("#")[0])
        expect(page.get_by_text("open the address that")).to_be_visible()


def test_hostile_texts_are_shown_as_texts_on_every_page(chromium: Browser, tmp_path: Path) -> None:
    directory = ResultDir(tmp_path)
    PartWriter(directory, 0).write(grown_trees(), Session("run", stop_detail=HOSTILE[0], policy_error=HOSTILE[1]))
    for kind, columns in (
        ("trees", ("task_id", "error")),
        ("samples", ("task_id", "prompt_text", "completion_text", "answer")),
        ("nodes", ("text",)),
    ):
        for column in columns:
            rewritten(
                directory.part(kind, 0),
                column,
                lambda i: hostile(i),
            )
    tree = grown_trees()[0].tree_id
    for watched in look(chromium, ResultSource(tmp_path)):
        for path in (
            "/runs",
            "/runs/run",
            "/trees",
            f"/trees/{tree}",
            f"/trees/{tree}?node=0&compare=1",
            f"/trees/{tree}?view=map",
            "/about",
        ):
            watched.open(path)
            watched.page.wait_for_load_state("networkidle")
            assert watched.page.locator(INJECTED).count() == 0
            said = watched.page.locator("main").inner_text()
            assert not set(said) & set("\u202e\u202c\x1b\x07\ufeff\u200b\u2028\u2029")
        watched.open("/trees")
        expect(watched.page.get_by_text(HOSTILE[0]).first).to_be_visible()
        expect(watched.page.get_by_text("\\u202eevil").first).to_be_visible()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_pages_fit_a_phone_in_both_themes(chromium: Browser, source: ResultSource, theme: str) -> None:
    tree = grown_trees()[0].tree_id
    for watched in look(chromium, source, viewport={"width": 390, "height": 844}, color_scheme=theme):
        for path in (
            "/runs",
            "/runs/run",
            "/trees",
            f"/trees/{tree}?node=0",
            f"/trees/{tree}?view=map&node=0",
            "/about",
        ):
            watched.open(path)
            assert watched.page.evaluate("document.documentElement.scrollWidth") <= 390
        assert watched.page.evaluate("document.documentElement.dataset.theme") == theme


def test_any_two_paths_are_shown_side_by_side_and_what_they_share_once(watched: Watched) -> None:
    tree = grown_trees()[0]
    first, second = (sample.sample_id.rpartition(":")[2] for sample in tree.samples[:2])
    by_path = {node.path: node for node in tree.nodes}
    watched.open(f"/trees/{tree.tree_id}?node={first}")
    watched.page.get_by_role("link", name="compare with").click()
    expect(watched.page.get_by_text(f"Select the block or row to compare {first} with.")).to_be_visible()
    watched.open(f"/trees/{tree.tree_id}?with={first}&node={second}")
    panel = watched.page.locator(".compare")
    expect(panel.get_by_role("heading", name=f"{first} against {second}")).to_be_visible()
    for path, sample in zip((first, second), tree.samples[:2], strict=True):
        expect(panel.get_by_role("heading", name=f"{path}: ")).to_contain_text(f"reward {sample.reward:.3f}")
    shared = [path for path in by_path if f"{first}.".startswith(f"{path}.") and f"{second}.".startswith(f"{path}.")]
    texts = [by_path[""].text, *(by_path[path].text for path in sorted(shared, key=len) if path)]
    expect(panel.locator("pre.shared bdi")).to_have_text(texts)
    panel.get_by_role("button", name="Close").click()
    expect(panel).to_have_count(0)


def test_nodes_of_the_same_depth_are_a_key_away(watched: Watched) -> None:
    tree = grown_trees()[0]
    second = [node.path for node in tree.nodes if node.path.count(".") == 1]
    order = sorted(second, key=lambda path: [int(step) for step in path.split(".")])
    watched.open(f"/trees/{tree.tree_id}?node={order[0]}")
    expect(watched.page.locator(".lanes-canvas[data-drawn]")).to_be_visible()
    for path in order[1:]:
        watched.page.keyboard.press("}")
        expect(watched.page.locator(".details h2")).to_have_text(path)
    watched.page.keyboard.press("{")
    expect(watched.page.locator(".details h2")).to_have_text(order[-2])


def test_the_hardest_task_of_a_run_comes_first_and_leads_to_its_trees(watched: Watched) -> None:
    means = {
        tree.task_id: sum(sample.reward or 0.0 for sample in tree.samples) / len(tree.samples) for tree in grown_trees()
    }
    hardest = min(means, key=lambda task: means[task])
    watched.open("/runs/run")
    rows = watched.page.locator("[aria-label=tasks] tbody tr")
    expect(rows).to_have_count(len(means))
    expect(rows.first).to_contain_text(hardest)
    expect(rows.first).to_contain_text(f"{means[hardest]:.3f}")
    watched.page.locator("[aria-label=tasks]").get_by_role("button", name="task", exact=True).click()
    expect(rows.first).to_contain_text(max(means))
    rows.first.get_by_role("link").click()
    expect(watched.page.locator("[aria-label=trees] tbody tr")).to_have_count(1)
    expect(watched.page.locator("[aria-label=trees] tbody tr")).to_contain_text(max(means))
