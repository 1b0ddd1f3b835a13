"""Several models in one service: what a configuration may say of them, and what they must have in common."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from treeroll.config import parse
from treeroll.demo import MODEL_DIR, TOOL_MODEL_DIR
from treeroll.errors import InvalidInput
from treeroll.generator.config import GeneratorConfig
from treeroll.generator.fleet import fleet_tokenizer, with_common_context
from treeroll.generator.supervisor import Supervisor
from treeroll.service import ServiceConfig

SMALL, LARGE = {"model": str(TOOL_MODEL_DIR)}, {"model": str(MODEL_DIR)}


def generator(pools: dict[str, Any], **shared: Any) -> GeneratorConfig:
    return parse(ServiceConfig, {"generator": {"pools": pools, **shared}}, "service configuration").generator


def test_a_service_of_one_model_has_one_pool_without_a_name() -> None:
    config = GeneratorConfig(replicas=2)
    assert config.fleet() == {"": config}
    assert with_common_context(config, fleet_tokenizer(config)) is config
    assert config.model_names() == str(MODEL_DIR)


def test_a_pool_has_what_it_says_and_otherwise_what_the_section_says() -> None:
    config = generator({"small": {**SMALL, "replicas": 3}, "large": LARGE}, slots=8, engine="simulated")
    fleet = config.fleet()
    assert [(name, pool.model, pool.replicas, pool.slots, pool.engine) for name, pool in fleet.items()] == [
        ("small", TOOL_MODEL_DIR, 3, 8, "simulated"),
        ("large", MODEL_DIR, 1, 8, "simulated"),
    ]
    assert config.model_names() == f"small={TOOL_MODEL_DIR}, large={MODEL_DIR}"


def test_a_configuration_with_pools_can_be_written_and_read_again() -> None:
    config = ServiceConfig(generator=generator({"small": SMALL, "large": {**LARGE, "slots": 4}}))
    read = parse(ServiceConfig, json.loads(json.dumps(config.model_dump(mode="json"))), "service configuration")
    assert read.generator.fleet() == config.generator.fleet()


@pytest.mark.parametrize(
    ("pools", "shared", "sentence"),
    [
        ({"Big": LARGE}, {}, "generator.pools: name 'Big' must be 1 to 32 of a-z, 0-9, '_' and '-'"),
        ({"": LARGE}, {}, "generator.pools: name '' must be"),
        ({"large": {"replicas": 2}}, {}, "generator.pools.large has no model; set generator.pools.large.model"),
        ({"large": {**LARGE, "engine": "vllm"}}, {}, "generator.pools.large.engine is no setting of a pool; those are"),
        ({"large": {**LARGE, "slots": 0}}, {}, "generator.pools.large: 'slots' should be greater than or equal to 1"),
        ({"large": LARGE}, {"model": str(TOOL_MODEL_DIR)}, "generator.model and generator.pools are set; give"),
    ],
)
def test_pools_that_cannot_be_are_refused_in_one_sentence(
    pools: dict[str, Any], shared: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        generator(pools, **shared)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_replicas_are_named_after_their_pool() -> None:
    config = generator({"small": {**SMALL, "replicas": 2}, "large": LARGE})
    seats = Supervisor(config, "127.0.0.1:1", lambda *who: None).roster.seats.values()
    assert [(seat.replica_id, seat.pool, seat.number) for seat in seats] == [
        ("small-0", "small", 0),
        ("small-1", "small", 1),
        ("large-0", "large", 2),
    ]
    seats = Supervisor(GeneratorConfig(replicas=2), "127.0.0.1:1", lambda *who: None).roster.seats.values()
    assert [(seat.replica_id, seat.pool) for seat in seats] == [("r0", ""), ("r1", "")]


def other_model(place: Path, **changes: Any) -> dict[str, str]:
    """The demo model with another configuration."""
    shutil.copytree(MODEL_DIR, place)
    config = json.loads((place / "config.json").read_text())
    (place / "config.json").write_text(json.dumps({**config, **changes}))
    return {"model": str(place)}


def test_pools_have_the_shortest_context_and_the_smallest_vocabulary(tmp_path: Path) -> None:
    long, padded = (
        other_model(tmp_path / "l", max_position_embeddings=4096),
        other_model(tmp_path / "p", vocab_size=128),
    )
    config = generator({"long": long, "padded": padded})
    tokenizer = fleet_tokenizer(config)
    assert (tokenizer.max_model_len, tokenizer.vocab_size) == (1024, 100)
    shared = with_common_context(config, tokenizer)
    assert [pool.max_model_len for pool in shared.fleet().values()] == [1024, 1024]


def test_models_that_read_other_ids_are_refused(tmp_path: Path) -> None:
    other = other_model(tmp_path / "other")
    (tmp_path / "other" / "chat_template.jinja").write_text("{{ messages }}")
    with pytest.raises(InvalidInput, match=r"'small' and 'other' have different tokenizers .*share tokenizer and chat"):
        fleet_tokenizer(generator({"small": SMALL, "other": other}))
