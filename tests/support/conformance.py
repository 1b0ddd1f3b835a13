"""For tests that the conformance suite can fail."""

import pytest

from treeroll.testing import CHECKS, NotConformant


def caught(kind, policy, params=None):
    """The promise that the check names."""
    with pytest.raises(NotConformant) as error:
        CHECKS[kind](policy, params)
    promise, _, how = str(error.value).partition(": ")
    assert how.startswith(f"{kind} policy ")
    return promise
