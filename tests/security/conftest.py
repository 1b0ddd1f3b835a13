"""Credentials of a service."""

from pathlib import Path

import pytest
from tests.support.access import Credentials


@pytest.fixture
def credentials(tmp_path: Path) -> Credentials:
    return Credentials(tmp_path)
