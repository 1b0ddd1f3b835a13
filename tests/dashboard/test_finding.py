"""Finding a text in a tree, along its paths."""

import pytest
from playwright.sync_api import Browser, expect
from starlette.testclient import TestClient
from tests.dashboard.watched import look
from tests.support.rollouts import grown_trees

from treeroll.client import TreeRecord
from treeroll.dashboard.sources.finding import ends_of_matches
from treeroll.dashboard.sources.results import ResultSource

#        0: "ab" - 1: "c" - 2: "D"
#                \ 3: ""  - 4: "cd"
PARENTS, TEXTS = [-1, 0, 1, 0, 3], ["ab", "c", "D", "", "cd"]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("b", [0]),
        ("bc", [1, 4]),
        ("ABCD", [2, 4]),
        ("cd", [2, 4]),
        ("d", [2, 4]),
        ("cdc", []),
        ("abcde", []),
    ],
)
def test_a_match_is_found_in_the_node_where_it_ends_wherever_it_begins(wanted: str, found: list[int]) -> None:
    assert ends_of_matches(PARENTS, TEXTS, wanted) == found


def along_paths(tree: TreeRecord, wanted: str) -> list[int]:
    """The same, by looking at each path from its beginning."""
    by_id = {node.node_id: node for node in tree.nodes}
    found = []
    for number, node in enumerate(tree.nodes):
        above, at = "", node
        while at.parent_id is not None:
            at = by_id[at.parent_id]
            above = at.text + above
        path = (above + node.text).casefold()
        last = path.rfind(wanted.casefold())
        if last >= 0 and last + len(wanted) > len(above):
            found.append(number)
    return found


def test_texts_of_trees_are_found_in_all_nodes_that_have_them_and_in_no_other(client: TestClient) -> None:
    over = 0  # matches that begin in one node and end in another
    for tree in grown_trees():
        texts = {node.text for node in tree.nodes}
        by_id = {node.node_id: node for node in tree.nodes}
        joined = [by_id[node.parent_id].text[-6:] + node.text[:6] for node in tree.nodes if node.parent_id is not None]
        for wanted in ("=", "STEP", "no such text", *joined[1:8:2], *(node.text[1:9] for node in tree.nodes[1:3])):
            answer = client.get(f"/api/1/trees/{tree.tree_id}/find", params={"q": wanted}).json()
            assert answer["items"] == along_paths(tree, wanted)
            assert answer["matching"] == len(answer["items"])
            over += bool(answer["items"]) and not any(wanted.casefold() in text.casefold() for text in texts)
    assert over


@pytest.mark.parametrize(
    ("query", "status", "said"),
    [("", 400, "the text to find"), ("?q=", 400, "the text to find"), (f"?q={'x' * 201}", 400, "1 to 200 characters")],
)
def test_what_cannot_be_looked_for_is_told(client: TestClient, query: str, status: int, said: str) -> None:
    answer = client.get(f"/api/1/trees/{grown_trees()[0].tree_id}/find{query}")
    assert answer.status_code == status
    assert said in answer.json()["error"]
    assert client.get("/api/1/trees/none/find?q=x").status_code == 404


@pytest.mark.browser
def test_a_text_is_found_and_walked_through_by_keys(chromium: Browser, source: ResultSource) -> None:
    tree = grown_trees()[0]
    leaf = max(tree.nodes, key=lambda node: len(node.text) * (node.n_leaves == 1))
    wanted = leaf.text.strip().splitlines()[0][:12].strip()
    found = along_paths(tree, wanted)
    for watched in look(chromium, source):
        watched.open(f"/trees/{tree.tree_id}")
        expect(watched.page.locator(".lanes-canvas[data-drawn]")).to_be_visible()
        watched.page.keyboard.press("f")
        watched.page.keyboard.type(wanted)
        said = watched.page.locator(".find [role=status]")
        expect(said).to_have_text(f"{len(found)} {'node' if len(found) == 1 else 'nodes'}")
        assert watched.page.locator(".grid-row.hit").count() >= 1
        watched.page.keyboard.press("Enter")
        expect(said).to_contain_text(f"1 of {len(found)}")
        expect(watched.page.locator(".details mark").first).to_have_text(wanted, ignore_case=True)
        watched.page.keyboard.press("Escape")
        expect(watched.page.locator(".grid-row.hit")).to_have_count(0)
        watched.page.locator("#find").fill("no such text")
        expect(said).to_have_text("in no node")
