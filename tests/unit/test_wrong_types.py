"""What is no task, tree, batch, path or number is refused by a sentence that names it, before anything is sent."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

import treeroll
from treeroll.errors import InvalidInput
from treeroll.testing.service import running_service

Call = Callable[[Any, Any, Any], Any]


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[Any, Any]]:
    with running_service() as address, treeroll.connect(address) as client:
        yield client, client.create_run("run", recipe="flat", leaves=2)


CALLS: dict[str, tuple[Call, str]] = {
    "submit": (lambda client, run, bad: run.submit(bad), "tasks must be several tasks"),
    "generate": (lambda client, run, bad: run.generate(bad), "tasks must be several tasks"),
    "collect": (lambda client, run, bad: run.collect(bad), "tree_ids must be several ids of trees"),
    "collect one": (lambda client, run, bad: run.collect([bad]), "'tree_id' must be text"),
    "rewards": (lambda client, run, bad: run.report_rewards(bad), "rewards must be several rewards"),
    "tree": (lambda client, run, bad: client.get_tree(bad), "'tree_id' must be text"),
    "tree of a run": (lambda client, run, bad: run.get_tree(bad), "'tree_id' must be text"),
    "run": (lambda client, run, bad: client.run(bad), "'run_id' must be text"),
    "delete": (lambda client, run, bad: client.delete_run(bad), "'run_id' must be text"),
    "ack": (lambda client, run, bad: run.ack(bad), "batch must be a batch"),
    "weights": (lambda client, run, bad: run.publish_weights(bad, 1), "path must be a path"),
    "tokenizer": (lambda client, run, bad: client.check_tokenizer(bad), "path must be a path"),
    "tasks of a file": (lambda client, run, bad: treeroll.read_tasks(bad), "path must be a path"),
    "tasks of files": (lambda client, run, bad: treeroll.read_tasks(["a.jsonl", bad]), "path must be a path"),
}


@pytest.mark.parametrize("bad", [None, 5, 1.5], ids=repr)
@pytest.mark.parametrize("name", CALLS)
def test_values_of_another_type_are_refused_by_name(served: tuple[Any, Any], name: str, bad: Any) -> None:
    call, sentence = CALLS[name]
    with pytest.raises(InvalidInput, match=sentence):
        call(*served, bad)


@pytest.mark.parametrize("bad", [None, "5", True, float("nan")], ids=repr)
@pytest.mark.parametrize("option", ["lease_s", "trees", "max_wait_s", "timeout_s"])
def test_options_that_are_no_numbers_are_refused_by_name(served: tuple[Any, Any], option: str, bad: Any) -> None:
    if bad is None and option in ("max_wait_s", "timeout_s"):  # that is how they say: without
        return
    with pytest.raises(InvalidInput, match=f"{option} must be"):
        served[1].batches(**{option: bad})


@pytest.mark.parametrize("bad", [None, "1", 1.5, 0, True], ids=repr)
def test_versions_of_weights_that_are_no_whole_numbers_are_refused(served: tuple[Any, Any], bad: Any) -> None:
    with pytest.raises(InvalidInput, match="a version of weights is a whole number"):
        served[1].publish_weights("/nowhere", bad)


def test_acknowledging_through_what_is_no_batch_is_refused(served: tuple[Any, Any]) -> None:
    with pytest.raises(InvalidInput, match="a batch or a delivery_seq was expected, got null"):
        served[1].batches().ack_through(None)
