"""What is said of a node that cannot work, and that nothing is said of one that can."""

from dataclasses import replace

import pytest

from treeroll import __version__
from treeroll.generator.node_checks import ALL, CLOCK_S, DISK_BYTES, NEEDED, SHM_BYTES, Expected, complaints
from treeroll.generator.node_facts import NodeFacts

EXPECTED = Expected({"/models/qwen": "d1"}, "3.11.2", "2.60.0")
SOUND = NodeFacts("gpu-3", __version__, "3.11.2", "2.60.0", "token", SHM_BYTES, DISK_BYTES, 0.0, {"/models/qwen": "d1"})


def said(node: NodeFacts, checks: object = ALL) -> list[tuple[str, str]]:
    return list(complaints([node], EXPECTED, ALL if checks is ALL else NEEDED))


def test_nothing_is_said_of_a_sound_node() -> None:
    assert said(SOUND) == []
    assert said(replace(SOUND, ahead_s=-CLOCK_S)) == []


@pytest.mark.parametrize(
    ("node", "check", "sentence"),
    [
        (replace(SOUND, treeroll="0.2.0"), "treeroll", f"has treeroll 0.2.0, and this is {__version__}: install"),
        (
            replace(SOUND, python="3.12.1"),
            "python and ray",
            "has Python 3.12.1 and Ray 2.60.0, and this is Python 3.11",
        ),
        (replace(SOUND, ray="2.59.0"), "python and ray", "has Python 3.11.2 and Ray 2.59.0, and this is"),
        (
            replace(SOUND, models={}, missing={"/models/qwen": "it is not there"}),
            "model",
            "cannot read model /models/qwen (it is not there): put it there under the same path",
        ),
        (
            replace(SOUND, models={"/models/qwen": "d2"}),
            "model",
            "has another model at /models/qwen, with digest d2, and the one here has d1: copy the same one to both",
        ),
        (
            replace(SOUND, unreached={"a:7070": "nobody answers at a:7070"}),
            "coordinator",
            "does not reach the coordinator (a:7070: nobody answers at a:7070): name it by an address that",
        ),
        (replace(SOUND, ahead_s=7.25), "clock", "has a clock that is 7.2 s ahead of this host's: have both set by NTP"),
        (replace(SOUND, ahead_s=-7.25), "clock", "has a clock that is 7.2 s behind this host's"),
        (replace(SOUND, shm_free=64 << 20), "room", "has 64 MiB free in /dev/shm, and engines need 128 or more"),
        (replace(SOUND, disk_free=5 << 20), "room", "has 5 MiB free for temporary files"),
        (replace(SOUND, auth_mode="disabled"), "ray's token", "asks nobody for a token, so who reaches it runs code"),
    ],
)
def test_what_is_wrong_with_a_node_is_said_with_its_name_and_what_to_mend(
    node: NodeFacts, check: str, sentence: str
) -> None:
    [(name, text)] = said(node)
    assert name == check
    assert text.startswith(f"node gpu-3 of the Ray cluster {sentence}")
    assert ": " in text


def test_a_node_without_treeroll_has_no_other_complaint() -> None:
    bare = NodeFacts("gpu-3", "", "3.11.2", "2.60.0", "disabled")
    [(name, text)] = said(bare)
    assert (name, text) == (
        "treeroll",
        f"node gpu-3 of the Ray cluster has no treeroll, and this is {__version__}: install {__version__} there",
    )


def test_a_fleet_that_starts_asks_only_for_what_replicas_need() -> None:
    odd = replace(SOUND, ahead_s=100.0, shm_free=0, auth_mode="disabled")
    assert said(odd, NEEDED) == []
    assert len(said(odd)) == 3
