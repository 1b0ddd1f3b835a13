"""Tests of several hosts. They are namespaces of this machine, which not every machine allows."""

import os

import pytest
from tests.support.hosts import why_no_hosts


@pytest.fixture(scope="session", autouse=True)
def can_be() -> None:
    """Skip, with the reason, where there can be no hosts; CI must be able to make them."""
    if reason := why_no_hosts():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
