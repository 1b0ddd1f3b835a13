"""Standing by for a store's owner, on a clock of the test's own."""

import asyncio
from collections import defaultdict
from collections.abc import Callable

import pytest

from treeroll import clock
from treeroll.coordinator import standby as standbys
from treeroll.coordinator.standby import LISTEN_S, LOOK_S, SILENCE_S, SPREAD_S, Beats, Standby, open_silent
from treeroll.errors import InvalidInput, StaleEpoch, StandsBy, StoreDown, StoreError
from treeroll.store.base import NOBODY, Commit, Heartbeat
from treeroll.store.memory import MemoryStore


class Stage:
    """A store that can be away, and time that goes on while it is listened to; `act` is called before each look."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.store = Store()
        self.now = 1000.0
        self.act: Callable[[], None] = lambda: None
        self.said: list[StandsBy] = []
        self.in_place: defaultdict[str, list[bool]] = defaultdict(list)
        real = asyncio.sleep

        async def sleep(seconds: float) -> None:
            self.now += seconds
            self.act()
            await real(0)

        monkeypatch.setattr(standbys.asyncio, "sleep", sleep)
        monkeypatch.setattr(clock, "monotonic", lambda: self.now)

    async def take_over(self) -> float:
        """How long it waited, seconds."""
        began = self.now
        standby = Standby(self.store, lambda refusal: self.told(refusal, standby.in_place))
        await standby.take_over()
        return self.now - began

    def told(self, refusal: StandsBy, in_place: bool) -> None:
        self.said.append(refusal)
        self.in_place[str(refusal).removeprefix("this service ").split()[0]].append(in_place)


class Store(MemoryStore):
    away: StoreError | None = None
    full: StoreError | None = None

    async def heartbeat(self) -> Heartbeat | None:
        if self.away:
            raise self.away
        return await super().heartbeat()

    async def open(self, after: int = 0, heard: Heartbeat | None = None) -> int:
        if self.full:
            raise self.full
        return await super().open(after, heard)


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(monkeypatch)


async def test_a_store_that_nobody_had_is_opened_within_the_time_that_spreads_starts(stage: Stage) -> None:
    assert 0.0 <= await stage.take_over() <= SPREAD_S
    assert (await stage.store.heartbeat()) == Heartbeat(1, 0, "this process")


async def test_an_owner_that_is_silent_is_taken_over_from_after_5_seconds(stage: Stage) -> None:
    await stage.store.open()
    assert SILENCE_S <= await stage.take_over() < SILENCE_S + 2 * LOOK_S
    assert (await stage.store.heartbeat() or Heartbeat(0, 0, "")).epoch == 2
    assert str(stage.said[0]) == (
        "this service stands by for this process, which has memory (epoch 1) and was heard 0.0 s ago"
    )
    assert str(stage.said[-2]).endswith("and was heard 4.8 s ago")
    assert str(stage.said[-1]) == "this service takes memory over, and starts; try again in a while"


async def test_an_owner_that_commits_every_4_seconds_keeps_its_store(stage: Stage) -> None:
    epoch = await stage.store.open()
    spoken: list[float] = []

    def speak() -> None:
        if stage.now >= (spoken[-1] if spoken else 1000.0) + 4.0 and len(spoken) < 9:
            spoken.append(stage.now)
            stage.store._commits += 1

    stage.act = speak
    await stage.take_over()
    assert len(spoken) == 9
    assert stage.now >= spoken[-1] + SILENCE_S
    with pytest.raises(StoreError):
        await stage.store.commit(Commit(), epoch)


async def test_silence_counts_only_while_the_store_answers(stage: Stage) -> None:
    await stage.store.open()

    def weather() -> None:
        stage.store.away = StoreDown("it is away") if 1004.0 < stage.now < 1100.0 else None

    stage.act = weather
    assert await stage.take_over() >= 100.0 + SILENCE_S
    assert any(str(said).endswith("waits for memory: it is away") for said in stage.said)
    assert (set(stage.in_place["stands"]), set(stage.in_place["waits"])) == ({True}, {False})


async def test_a_store_that_takes_no_writes_is_listened_to_again(stage: Stage) -> None:
    await stage.store.open()
    stage.store.full = StoreDown("it is full")

    def weather() -> None:
        if stage.now > 1060.0:
            stage.store.full = None

    stage.act = weather
    assert await stage.take_over() > 60.0


async def test_a_store_that_cannot_be_used_ends_it(stage: Stage) -> None:
    stage.store.full = StoreError("its settings would lose data")
    with pytest.raises(StoreError, match="its settings would lose data"):
        await stage.take_over()


async def test_a_second_service_refuses_a_store_whose_owner_is_heard_and_names_it(stage: Stage) -> None:
    epoch, began = await stage.store.open(), stage.now

    def works() -> None:
        if stage.now - began > 0.9:
            asyncio.get_running_loop().create_task(stage.store.commit(Commit(), epoch))

    stage.act = works
    with pytest.raises(InvalidInput, match=r"memory has an owner that lives, this process \(epoch 1\): stop that"):
        await open_silent(stage.store)
    assert stage.now - began < LISTEN_S
    assert (await stage.store.heartbeat() or Heartbeat(0, 0, "")).epoch == 1


async def test_a_second_service_goes_on_in_the_place_of_an_owner_that_is_silent(stage: Stage) -> None:
    began = stage.now
    await open_silent(stage.store)
    assert stage.now == began  # nobody had it
    await stage.store.open()
    await open_silent(stage.store)
    assert LISTEN_S <= stage.now - began < LISTEN_S + 2 * LOOK_S


async def test_of_services_that_start_at_once_one_has_the_store_and_the_others_are_refused_and_named(
    stage: Stage,
) -> None:
    living: list[Beats] = []

    async def start() -> int:
        epoch = await open_silent(stage.store)
        living.append(Beats(stage.store, epoch))
        return epoch

    for owner in range(1, 3):  # of a new store, and of one whose owner is silent
        opened = await asyncio.gather(*(start() for _ in range(3)), return_exceptions=True)
        await living[-1].stop()
        assert [epoch for epoch in opened if isinstance(epoch, int)] == [owner]
        refused = [str(error) for error in opened if isinstance(error, InvalidInput)]
        assert len(refused) == 2
        assert all(f"has an owner that lives, this process (epoch {owner}): stop that" in said for said in refused)


async def test_of_services_that_stand_by_one_takes_over_and_the_others_stand_by_for_it(stage: Stage) -> None:
    await stage.store.open()
    taking = [asyncio.create_task(stage.take_over()) for _ in range(2)]
    done, waiting = await asyncio.wait(taking, return_when=asyncio.FIRST_COMPLETED)
    assert len(done) == 1
    assert (await stage.store.heartbeat() or NOBODY).epoch == 2
    await asyncio.wait(waiting)  # nobody is heard
    assert (await stage.store.heartbeat() or NOBODY).epoch == 3


async def test_an_owner_that_starts_for_longer_than_it_may_be_silent_is_heard(stage: Stage) -> None:
    beats = Beats(stage.store, await stage.store.open())
    with pytest.raises(InvalidInput, match="has an owner that lives"):
        await open_silent(stage.store)
    await beats.stop()
    assert await open_silent(stage.store) == 2


async def test_an_owner_that_starts_while_its_store_is_away_is_heard_again_and_says_no_more_when_it_is_fenced(
    stage: Stage,
) -> None:
    tries = 0

    async def beat(epoch: int) -> None:
        nonlocal tries
        tries += 1
        if tries < 4:
            raise StoreDown("it is away")
        raise StaleEpoch("it is another's")

    stage.store.beat = beat  # type: ignore[method-assign]
    beats = Beats(stage.store, 1)
    await beats._task
    assert tries == 4
    await beats.stop()
