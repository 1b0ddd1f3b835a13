"""Without TLS and tokens the service answers loopback only."""

import asyncio

import pytest

from treeroll.config import CoordinatorConfig
from treeroll.errors import InvalidInput
from treeroll.service import ServiceConfig, serve


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "[::]", "192.168.1.7", "::ffff:10.0.0.1", "example.org"])  # noqa: S104
async def test_another_address_than_loopback_is_refused_before_anything_starts(host: str) -> None:
    config = ServiceConfig(coordinator=CoordinatorConfig(host=host))
    with pytest.raises(InvalidInput, match="serves loopback only"):
        await serve(config, lambda address: None, asyncio.Event())
