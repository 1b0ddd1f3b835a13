"""What a fleet takes over of one that was killed: seats, and the settings that replicas were made with."""

from typing import Any

import pytest

from treeroll.channels import Pass
from treeroll.generator import ray_survivors
from treeroll.generator.actor import Post
from treeroll.generator.config import GeneratorConfig
from treeroll.generator.ray_fleet import FleetPlace
from treeroll.generator.ray_survivors import Survivor, adopted
from treeroll.generator.seats import Roster


def survivor(name: str, incarnation: int = 1, pool: str = "", *, joined: bool = True, **settings: Any) -> Survivor:
    """One that was made with these settings; its actor is its name and incarnation."""
    post = Post(name, pool, incarnation, 7, "a:1", Pass(), 300.0)
    return Survivor(f"{name}.{incarnation}", GeneratorConfig(**settings), post, joined)


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Actors that were ended."""
    found: list[str] = []
    monkeypatch.setattr(ray_survivors.ray, "kill", found.append)
    return found


async def adopt(monkeypatch: pytest.MonkeyPatch, roster: Roster, *left: Survivor) -> dict[str, Survivor]:
    async def survivors(kept_as: str) -> list[Survivor]:
        return list(left)

    monkeypatch.setattr(ray_survivors, "_survivors", survivors)
    return await adopted("fleet@a:1", roster)


async def test_replicas_have_their_seats_again_and_what_is_too_much_ends(
    monkeypatch: pytest.MonkeyPatch, killed: list[str]
) -> None:
    roster = Roster(GeneratorConfig(replicas=3).fleet())
    roster.fill()
    names = ("r0", "r2", "r5", "r7")
    found = await adopt(monkeypatch, roster, *map(survivor, names))
    assert set(found) == set(roster.seats) == set(names)  # an empty seat is no replica that is there
    assert [seat.until is None for seat in roster.seats.values()].count(True) == 3
    assert roster.ready == 3
    assert killed == []


async def test_one_that_has_not_joined_makes_room_first_and_of_two_lives_the_later_counts(
    monkeypatch: pytest.MonkeyPatch, killed: list[str]
) -> None:
    roster = Roster(GeneratorConfig(replicas=1).fleet())
    roster.fill()
    left = survivor("r0", 1, joined=False), survivor("r1", 1), survivor("r1", 2)
    found = await adopt(monkeypatch, roster, *left)
    assert [(name, one.post.incarnation) for name, one in found.items()] == [("r0", 1), ("r1", 2)]
    assert killed == ["r1.1"]
    assert roster.seats["r0"].cause == "its pool shrinks"
    assert roster.seats["r1"].until is None


async def test_other_settings_are_left_behind_and_a_number_of_replicas_is_none(
    monkeypatch: pytest.MonkeyPatch, killed: list[str]
) -> None:
    roster = Roster(GeneratorConfig(replicas=2, slots=8).fleet())
    roster.fill()
    await adopt(monkeypatch, roster, survivor("r0", slots=8, replicas=5), survivor("r1", slots=9))
    assert [seat.cause for seat in roster.seats.values()] == ["", "its settings are those of an earlier fleet"]
    assert [seat.replica_id for seat in roster.fill()] == ["r2"]


async def test_who_has_no_place_here_is_ended(monkeypatch: pytest.MonkeyPatch, killed: list[str]) -> None:
    roster = Roster(GeneratorConfig().fleet(), "east-")
    roster.fill()
    left = survivor("east-large-0", pool="large"), survivor("west-r0"), survivor("east-r0")
    assert set(await adopt(monkeypatch, roster, *left)) == {"east-r0"}
    assert killed == ["east-large-0.1", "west-r0.1"]


def test_a_fleet_is_known_in_the_cluster_by_its_name_and_its_service_in_whatever_order_that_is_given() -> None:
    assert FleetPlace("b:1,a:1", "east").kept_as == FleetPlace("a:1,b:1", "east").kept_as == "east@a:1,b:1"
    assert FleetPlace("a:1").kept_as == "fleet@a:1"
