"""Without TLS and tokens the service answers loopback only."""

import asyncio
from pathlib import Path

import pytest
from tests.support.access import Credentials
from tests.support.command import Command

from treeroll.config import CoordinatorConfig
from treeroll.errors import InvalidInput
from treeroll.service import ServiceConfig, serve


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "[::]", "192.168.1.7", "::ffff:10.0.0.1", "example.org"])  # noqa: S104
async def test_another_address_than_loopback_is_refused_before_anything_starts(host: str) -> None:
    config = ServiceConfig(coordinator=CoordinatorConfig(host=host))
    with pytest.raises(InvalidInput, match="without TLS and tokens treeroll serves loopback only; make certificates"):
        await serve(config, lambda address: None, asyncio.Event())


@pytest.mark.parametrize(("tls", "tokens", "missing"), [(True, False, "tokens"), (False, True, "TLS")])
async def test_one_of_the_two_is_not_enough(tls: bool, tokens: bool, missing: str, credentials: Credentials) -> None:
    credentials.token("client", "a")
    access = credentials.config(tls=tls, tokens=tokens)
    config = ServiceConfig(coordinator=CoordinatorConfig(host="0.0.0.0"), access=access)  # noqa: S104
    with pytest.raises(InvalidInput, match=f"without {missing} treeroll serves loopback only"):
        await serve(config, lambda address: None, asyncio.Event())


def test_the_command_refuses_it_in_one_sentence(tmp_path: Path) -> None:
    with Command(["serve", "--host", "0.0.0.0"], tmp_path / "log") as command:  # noqa: S104
        assert command.wait() == 2
    assert command.output().startswith("error: coordinator.host is 0.0.0.0, and without TLS and tokens treeroll serves")
    assert command.output().count("\n") == 1
