"""Sampling settings of a run: what is taken, what is refused and why, and what trees say of them."""

from dataclasses import fields
from typing import Any

import pytest

from treeroll.config import RunConfig, parse
from treeroll.coordinator.records import task_header
from treeroll.coordinator.specs import run_spec
from treeroll.core.model.run import Run, TaskSpec
from treeroll.errors import InvalidInput
from treeroll.pb.v1 import replica_pb2 as wire
from treeroll.records.fields import Node, Sample
from treeroll.sampling import Sampling

SET: dict[str, Any] = {
    "temperature": 0.5, "top_p": 0.75, "top_k": 20, "min_p": 0.125, "repetition_penalty": 1.25, "min_tokens": 8,
    "stop": ["\n\n", "END"], "stop_token_ids": [7, 9],
}  # fmt: skip


def sampling(**settings: Any) -> Sampling:
    return run_spec("run", parse(RunConfig, settings, "run"), vocabulary=100).sampling


def test_a_field_has_one_name_in_configuration_record_and_message() -> None:
    names = {field.name for field in fields(Sampling)}
    assert names - {"eos_token_ids"} <= RunConfig.model_fields.keys()
    assert {field.name for field in wire.Sampling.DESCRIPTOR.fields} == names


def test_what_a_run_sets_is_in_the_header_of_its_trees_and_in_every_row() -> None:
    run = Run(run_spec("run", RunConfig(**SET), vocabulary=100))
    header = task_header(run, TaskSpec("t", 0, "tree", b"", "", "d"), "hash", "processed")
    recorded = {name: getattr(header, name) for name in SET}
    assert {name: list(value) if name.startswith("stop") else value for name, value in recorded.items()} == SET
    for record in (Node, Sample):
        columns = {field.name for field in fields(record)}
        assert {"temperature", "top_p", "top_k", "min_p", "repetition_penalty", "min_tokens"} <= columns


@pytest.mark.parametrize(
    ("settings", "name", "value"),
    [
        ({"top_k": -1}, "top_k", 0),
        ({"stop": "END"}, "stop", ("END",)),
        ({"stop": None, "stop_token_ids": None}, "stop", ()),
        ({"stop_token_ids": 7}, "stop_token_ids", (7,)),
    ],
)
def test_settings_are_taken_as_vllm_takes_them(settings: dict[str, Any], name: str, value: object) -> None:
    assert getattr(sampling(**settings), name) == value


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"top_k": -2}, "'top_k'"),
        ({"min_p": 1.5}, "'min_p'"),
        ({"min_p": float("nan")}, "'min_p'"),
        ({"repetition_penalty": 0}, "'repetition_penalty'"),
        ({"repetition_penalty": float("inf")}, "'repetition_penalty'"),
        ({"min_tokens": -1}, "'min_tokens'"),
        ({"min_tokens": 51, "max_tokens": 50}, "min_tokens 51 is above max_tokens 50"),
        ({"stop": [""]}, "'stop.0'"),
        ({"stop": ["x" * 257]}, "'stop.0'"),
        ({"stop": ["x"] * 65}, "'stop'"),
        ({"stop_token_ids": [-1]}, "'stop_token_ids.0'"),
        ({"stop_token_ids": [100]}, "stop_token_ids has 100, but the model's ids are below 100"),
    ],
)
def test_settings_that_cannot_be_are_refused_by_name(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        sampling(**settings)
    assert message in str(refused.value)


def test_the_models_end_of_sequence_is_a_stop_id_unless_it_is_ignored() -> None:
    assert Sampling(stop_token_ids=(7, 1)).ending_with([1, 2]).stop_token_ids == (1, 2, 7)
    ignoring = Sampling(stop_token_ids=(7,), ignore_eos=True).ending_with([1, 2])
    assert (ignoring.stop_token_ids, ignoring.eos_token_ids) == ((7,), ())
