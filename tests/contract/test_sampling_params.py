"""Every field of Sampling that a run sets arrives in vLLM's SamplingParams, through all the stops between."""

from array import array
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import pytest

from treeroll.config import RunConfig
from treeroll.coordinator.replica_session import sampling_command
from treeroll.coordinator.specs import run_spec
from treeroll.demo import MODEL_DIR
from treeroll.generator.config import GeneratorConfig
from treeroll.generator.detokenizer import Detokenizer
from treeroll.generator.engine import EngineRequest
from treeroll.generator.outbox import Outbox
from treeroll.generator.request import BranchRequest, Tally
from treeroll.generator.sequence import GrantSequence
from treeroll.generator.vllm_engine import VllmEngine
from treeroll.pb.v1 import replica_pb2 as wire
from treeroll.sampling import Sampling

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(900)]  # it imports vLLM, which takes as long as to start it

DETOKENIZER = Detokenizer(MODEL_DIR)
PROMPT = DETOKENIZER.tokenizer.encode("Compute 20+31.\n").ids
EOS, OWN = 1, 7


def arrived(sampling: dict[str, Any], completion: int = 0) -> tuple[Any, EngineRequest]:
    """SamplingParams of a branch of such a run, behind so many tokens of its path, and the engine's request."""
    spec = run_spec("run", RunConfig(max_tokens=200, **sampling), vocabulary=100)
    boundaries = [65, 97]
    start = wire.StartBranch(
        grant=1, prompt_tokens=len(PROMPT), boundaries=boundaries, max_total=boundaries[-1], seed=5,
        sampling=sampling_command(spec.sampling, [EOS]),
    )  # fmt: skip
    sequence = GrantSequence(array("i", [*PROMPT, *[9] * completion]), len(PROMPT), "")
    engine = VllmEngine(GeneratorConfig(), seed=0)
    request = BranchRequest(start, sequence, engine, DETOKENIZER, Outbox(), Tally(), 9)._request()
    return engine._params(request, request.max_total - len(sequence.ids)), request


# Of each field: how to set it, and what then is there. A field that is not here fails the test.
Arrives = Callable[[Any, EngineRequest], bool]
FIELDS: dict[str, tuple[dict[str, Any], Arrives]] = {
    "temperature": ({"temperature": 0.5}, lambda params, _: params.temperature == 0.5),
    "top_p": ({"top_p": 0.75}, lambda params, _: params.top_p == 0.75),
    "top_k": ({"top_k": 20}, lambda params, _: params.top_k == 20),
    "min_p": ({"min_p": 0.125}, lambda params, _: params.min_p == 0.125),
    "repetition_penalty": ({"repetition_penalty": 1.25}, lambda params, _: params.repetition_penalty == 1.25),
    "min_tokens": ({"min_tokens": 11}, lambda params, _: params.min_tokens == 11),
    # vLLM cannot: it has no tokenizer here. The branch looks for them.
    "stop": ({"stop": ["\n\n"]}, lambda params, request: request.sampling.stop == ("\n\n",) and params.stop == []),
    "stop_token_ids": ({"stop_token_ids": [OWN]}, lambda params, _: params.stop_token_ids == [EOS, OWN]),
    "eos_token_ids": ({}, lambda params, request: params.stop_token_ids == [EOS] == [*request.sampling.eos_token_ids]),
    "top_logprobs": ({"top_logprobs": 4}, lambda params, _: params.logprobs == 4),
    "per_request_seed": ({"per_request_seed": True}, lambda params, _: params.seed == 5),
    "ignore_eos": ({"ignore_eos": True}, lambda params, _: params.stop_token_ids == []),
}
OFF: dict[str, Any] = {"top_logprobs": 0}


@pytest.mark.parametrize("name", [field.name for field in fields(Sampling)])
def test_each_field_arrives_when_it_is_set_and_only_then(name: str) -> None:
    settings, arrives = FIELDS[name]
    assert arrives(*arrived(OFF | settings))
    if settings:
        assert not arrives(*arrived(OFF))


def test_a_run_that_sets_nothing_samples_from_the_models_own_distribution() -> None:
    params, _ = arrived(OFF)
    own = (params.temperature, params.top_p, params.top_k, params.min_p, params.repetition_penalty, params.min_tokens)
    assert own == (1.0, 1.0, 0, 0.0, 1.0, 0)
    assert (params.presence_penalty, params.frequency_penalty, params.seed, params.logprobs) == (0.0, 0.0, None, 0)


@pytest.mark.parametrize("off", [-1, 0])
def test_top_k_is_switched_off_as_in_vllm_and_verl(off: int) -> None:
    params, _ = arrived({"top_k": off})
    assert params.top_k == 0


@pytest.mark.parametrize(("completion", "left"), [(0, 24), (10, 14), (24, 0), (30, 0)])
def test_the_tokens_that_nothing_ends_are_those_of_the_path_not_of_the_request(completion: int, left: int) -> None:
    params, _ = arrived({"min_tokens": 24}, completion)
    assert params.min_tokens == left


def test_a_request_that_ends_before_the_path_may_asks_vllm_for_no_more_than_it_has_room_for() -> None:
    params, request = arrived({"min_tokens": 150})
    assert params.min_tokens == params.max_tokens == request.max_total - len(PROMPT)
