"""A replica over the simulated engine against a fake coordinator: segments, credit, stops, reconnects, drain."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import grpc
import pytest
from tests.support.eventually import eventually
from tests.support.fake_coordinator import FakeCoordinator

from treeroll.demo import MODEL_DIR
from treeroll.errors import EngineError
from treeroll.generator.config import SimulatedLatency
from treeroll.generator.detokenizer import Detokenizer
from treeroll.generator.replica import Replica
from treeroll.generator.session import SessionRefused
from treeroll.generator.simulated_engine import SimulatedEngine
from treeroll.pb.v1 import replica_pb2 as wire

DETOKENIZER = Detokenizer(MODEL_DIR)
PROMPT = DETOKENIZER.tokenizer.encode("Compute 20+31-17+25.\n").ids
AHEAD = [33, 65, 97, 129, 161, 193, 225]  # aligned: 1 modulo 32


@asynccontextmanager
async def served(
    coordinator: FakeCoordinator, step_s: float = 0.0005, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> AsyncIterator[tuple[Replica, SimulatedEngine]]:
    """A connected replica r0; it is cancelled at the end. `sleep` is how its engine waits for its steps."""
    latency = SimulatedLatency(step_s=step_s, prefill_token_s=0.0, jitter=0.0)
    engine = SimulatedEngine(DETOKENIZER.tokenizer, latency=latency, max_model_len=1024, sleep=sleep)
    replica = Replica(engine, DETOKENIZER, "r0", 1, coordinator.address)
    task = asyncio.create_task(replica.run())
    await coordinator.hello("r0")
    try:
        yield replica, engine
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def tokens_balance(replica: Replica) -> bool:
    return replica.tally.generated == replica.tally.reported + replica.tally.dropped


async def true(check: Callable[[], bool], timeout_s: float = 300.0) -> None:
    async def checked() -> bool:
        return check()

    await eventually(checked, timeout_s)


async def test_hello_carries_the_engine() -> None:
    async with FakeCoordinator() as coordinator, served(coordinator):
        hello = await coordinator.hello("r0")
        assert (hello.incarnation, hello.last_seq, list(hello.live_grants)) == (1, 0, [])
        assert (hello.engine.engine, hello.engine.block_size, hello.engine.slots) == ("simulated", 32, 64)


async def test_a_branch_comes_back_cut_at_its_boundaries() -> None:
    async with FakeCoordinator() as coordinator, served(coordinator) as (replica, _):
        grant = coordinator.start("r0", PROMPT, AHEAD, ignore_eos=True)
        [told] = await coordinator.ended(grant)
        assert told.sizes == [33 - len(PROMPT)] + [32] * 6
        assert told.end.reason == wire.END_REASON_LENGTH
        assert told.end.dropped_tokens == 0
        assert told.text == DETOKENIZER.tokenizer.decode(told.token_ids)
        assert [segment.HasField("cached_tokens") for segment in told.segments] == [True] + [False] * 6
        assert [span.tokens for node in told.nodes for span in node.weight_versions] == told.sizes
        assert 0 < told.nodes[0].started_at <= told.nodes[0].finished_at <= told.nodes[-1].finished_at
        assert tokens_balance(replica)


async def test_an_end_of_sequence_is_the_last_token_of_the_last_segment() -> None:
    async with FakeCoordinator() as coordinator, served(coordinator) as (replica, _):
        grants = coordinator.start_many("r0", PROMPT, [*AHEAD, 900], 20)
        for told in await coordinator.ended(*grants):
            assert told.end.reason == wire.END_REASON_EOS
            assert told.token_ids[-1] == 1
            assert told.segments[-1].tokens > 0
            assert told.text.endswith("}.")
        assert tokens_balance(replica)


async def test_a_fork_at_a_running_branchs_boundary_recomputes_one_token() -> None:
    async with FakeCoordinator() as coordinator, served(coordinator, step_s=0.002):
        grant = coordinator.start("r0", PROMPT, AHEAD, ignore_eos=True)
        await true(lambda: len(coordinator.grants[grant].segments) >= 2)
        parent = PROMPT + coordinator.grants[grant].token_ids[: 65 - len(PROMPT)]
        fork = coordinator.start("r0", parent, AHEAD[2:], prompt_tokens=len(PROMPT), seed=9, ignore_eos=True)
        told, forked = await coordinator.ended(grant, fork)
        assert len(parent) - forked.segments[0].cached_tokens == 1
        assert forked.token_ids != told.token_ids[65 - len(PROMPT) :]


async def test_a_fork_needs_only_the_name_of_its_prefix_until_its_tree_is_forgotten() -> None:
    async with FakeCoordinator() as coordinator, served(coordinator):
        named = {"tree_id": "t", "prompt_tokens": len(PROMPT), "seed": 9}
        [told] = await coordinator.ended(coordinator.start("r0", PROMPT, [*AHEAD, 900], **named))
        prefix = PROMPT + told.token_ids[: 65 - len(PROMPT)]
        ahead = [*AHEAD[2:], 900]
        sent = coordinator.start("r0", prefix, ahead, **named)
        by_name = coordinator.start("r0", prefix, ahead, prefix_grant=1, **named)
        [whole, fork] = await coordinator.ended(sent, by_name)
        assert fork.token_ids == whole.token_ids
        assert fork.segments[0].tail == "".join(segment.text for segment in told.segments[:2])[-256:]
        coordinator.send("r0", wire.Commands(forget_trees=["t"]))
        late = coordinator.start("r0", prefix, ahead, prefix_grant=1, **named)
        [refused] = await coordinator.ended(late)
        assert refused.end.reason == wire.END_REASON_ERROR
        assert "no sequence of grant 1" in refused.end.error


async def test_a_branch_granted_again_with_its_seed_continues_the_same() -> None:
    async with FakeCoordinator() as coordinator, served(coordinator):
        [told] = await coordinator.ended(coordinator.start("r0", PROMPT, [*AHEAD, 900], seed=3))
        prefix = PROMPT + told.token_ids[: 65 - len(PROMPT)]
        again = coordinator.start("r0", prefix, [*AHEAD[2:], 900], prompt_tokens=len(PROMPT), seed=3)
        [continued] = await coordinator.ended(again)
        assert continued.token_ids == told.token_ids[65 - len(PROMPT) :]


async def test_without_acknowledgement_a_branch_ends_when_its_credit_is_used_up() -> None:
    async with FakeCoordinator(acknowledge=False, run_ahead=2) as coordinator, served(coordinator) as (replica, _):
        grant = coordinator.start("r0", PROMPT, AHEAD, ignore_eos=True)
        [told] = await coordinator.ended(grant)
        assert told.sizes == [33 - len(PROMPT), 32, 0]
        assert told.end.reason == wire.END_REASON_CREDIT
        assert told.end.dropped_tokens < 32
        assert tokens_balance(replica)
        assert replica.tally.dropped == told.end.dropped_tokens


async def test_an_acknowledgement_renews_credit() -> None:
    steps = asyncio.Semaphore(2)  # the first segment, and not the third

    async def allowed(_: float) -> None:
        await steps.acquire()

    coordinator = FakeCoordinator(acknowledge=False, run_ahead=2)
    async with coordinator, served(coordinator, sleep=allowed) as (replica, _):
        grant = coordinator.start("r0", PROMPT, AHEAD, ignore_eos=True)
        told = coordinator.grants[grant]
        await true(lambda: len(told.segments) == 1)
        coordinator.ack("r0", 1)
        await true(lambda: replica.hello().acked_seq == 1)
        for _ in range(100):
            steps.release()
        await coordinator.ended(grant)
        assert told.sizes == [33 - len(PROMPT), 32, 32, 0]


async def test_a_hold_branch_ends_at_its_first_boundary() -> None:
    async with FakeCoordinator() as coordinator, served(coordinator) as (replica, _):
        held = coordinator.start("r0", PROMPT, AHEAD, hold=True, ignore_eos=True)
        last = coordinator.start("r0", PROMPT, AHEAD[:1], hold=True, ignore_eos=True)
        one, two = await coordinator.ended(held, last)
        assert (one.sizes, one.end.reason, one.end.dropped_tokens) == ([33 - len(PROMPT)], wire.END_REASON_HOLD, 0)
        assert (two.sizes, two.end.reason) == ([33 - len(PROMPT)], wire.END_REASON_LENGTH)
        assert tokens_balance(replica)


async def test_a_stopped_branch_accounts_for_every_token() -> None:
    async with FakeCoordinator() as coordinator, served(coordinator, step_s=0.002) as (replica, engine):
        grants = coordinator.start_many("r0", PROMPT, [*AHEAD, 1000], 8, ignore_eos=True)
        await true(lambda: all(len(coordinator.grants[grant].segments) >= 2 for grant in grants))
        coordinator.stop("r0", *grants, 12345)
        for told in await coordinator.ended(*grants):
            assert told.end.reason == wire.END_REASON_STOPPED
            assert told.segments[-1].tokens == 0
        assert tokens_balance(replica)
        assert replica.tally.generated == sum(
            len(told.token_ids) + told.end.dropped_tokens for told in coordinator.grants.values()
        )
        assert engine.stats().running == 0
        assert replica.live_branches == 0


async def test_a_branch_stopped_in_the_message_that_follows_its_start_ends() -> None:
    async with FakeCoordinator() as coordinator, served(coordinator):
        grant = coordinator.start("r0", PROMPT, AHEAD, ignore_eos=True)
        coordinator.stop("r0", grant)
        [told] = await coordinator.ended(grant)
        assert told.end.reason == wire.END_REASON_STOPPED
        assert told.token_ids == []


async def test_a_replica_says_of_a_branch_that_it_was_told_to_stop() -> None:
    async with FakeCoordinator(acknowledge=False) as coordinator, served(coordinator) as (replica, _):
        stopped, whole = coordinator.start_many("r0", PROMPT, AHEAD, 2, ignore_eos=True)
        coordinator.stop("r0", stopped)
        await coordinator.ended(stopped, whole)
        assert {live.grant: live.stopped for live in replica.hello().branches} == {stopped: True, whole: False}


async def test_what_the_engine_refuses_ends_as_an_error_and_the_replica_goes_on() -> None:
    async with FakeCoordinator() as coordinator, served(coordinator):
        too_long = coordinator.start("r0", PROMPT, [33, 5000])
        backwards = coordinator.start("r0", PROMPT, [65, 33])
        fine = coordinator.start("r0", PROMPT, AHEAD)
        bad, worse, good = await coordinator.ended(too_long, backwards, fine)
        assert bad.end.reason == worse.end.reason == wire.END_REASON_ERROR
        assert "1024" in bad.end.error
        assert "boundaries" in worse.end.error
        assert good.end.reason in (wire.END_REASON_EOS, wire.END_REASON_LENGTH)


async def test_unacknowledged_reports_are_sent_again_after_a_reconnect() -> None:
    async with FakeCoordinator(acknowledge=False) as coordinator, served(coordinator) as (replica, _):
        grant = coordinator.start("r0", PROMPT, AHEAD, ignore_eos=True)
        await coordinator.ended(grant)
        await coordinator.close()
        first = [report.SerializeToString() for _, report in coordinator.reports]
        # The new one remembers only the first report.
        coordinator.acked[("r0", 1)] = 1
        coordinator.seen.clear()
        coordinator.grants[grant] = type(coordinator.grants[grant])()
        del coordinator.reports[:]
        await coordinator.open()
        await true(lambda: len(coordinator.hellos) == 2)
        assert list(coordinator.hellos[1].live_grants) == [grant]
        assert coordinator.hellos[1].last_seq == len(first)
        await true(lambda: len(coordinator.reports) == len(first) - 1)
        assert [report.SerializeToString() for _, report in coordinator.reports] == first[1:]
        coordinator.ack("r0", len(first))
        await true(lambda: not replica.hello().live_grants)


async def test_a_branch_decodes_on_while_the_coordinator_is_away_but_not_past_its_credit() -> None:
    coordinator = FakeCoordinator(acknowledge=False, run_ahead=3)
    async with coordinator, served(coordinator, step_s=0.002) as (replica, _):
        grant = coordinator.start("r0", PROMPT, AHEAD, ignore_eos=True)
        await true(lambda: len(coordinator.grants[grant].segments) >= 1)
        await coordinator.close()
        await true(lambda: replica.live_branches == 0)
        await coordinator.open()
        [told] = await coordinator.ended(grant)
        assert told.end.reason == wire.END_REASON_CREDIT
        assert told.sizes == [33 - len(PROMPT), 32, 32, 0]


@pytest.mark.parametrize("epoch", [4, 5])
async def test_a_replica_drops_what_it_has_where_the_store_has_forgotten_who_gave_it(epoch: int) -> None:
    """Grants of the next coordinator may have the numbers of its own."""
    async with FakeCoordinator(epoch=5, acknowledge=False) as coordinator, served(coordinator) as (replica, _):
        grant = coordinator.start("r0", PROMPT, AHEAD, ignore_eos=True)
        await coordinator.ended(grant)
        await coordinator.close()
        coordinator.epoch, coordinator.life = epoch, 1
        await coordinator.open()
        await true(lambda: len(coordinator.hellos) >= 3)
        known, anew = coordinator.hellos[1:3]
        assert (known.incarnation, list(known.live_grants)) == (1, [grant])
        assert (anew.incarnation, list(anew.live_grants), anew.last_seq) == (2, [], 0)
        await true(replica.session.connected.is_set)


async def test_a_replica_goes_on_with_what_it_has_under_a_later_coordinator() -> None:
    async with FakeCoordinator(epoch=5, acknowledge=False) as coordinator, served(coordinator) as (replica, _):
        grant = coordinator.start("r0", PROMPT, AHEAD, ignore_eos=True)
        await coordinator.ended(grant)
        await coordinator.close()
        coordinator.epoch, coordinator.life = 6, 1
        await coordinator.open()
        await true(lambda: len(coordinator.hellos) >= 2)
        await true(replica.session.connected.is_set)
        assert (replica.incarnation, list(replica.hello().live_grants)) == (1, [grant])


async def test_of_several_addresses_the_one_that_serves_is_found_and_found_again() -> None:
    async with FakeCoordinator() as first, FakeCoordinator(epoch=2) as second:
        await first.close()
        engine = SimulatedEngine(DETOKENIZER.tokenizer, max_model_len=1024)
        replica = Replica(engine, DETOKENIZER, "r0", 1, f"{first.address},{second.address}")
        task = asyncio.create_task(replica.run())
        await second.hello("r0")
        await second.close()
        first.epoch = 3
        await first.open()
        await first.hello("r0")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_replica_without_a_number_is_what_it_is_welcomed_as() -> None:
    async with FakeCoordinator() as coordinator:
        engine = SimulatedEngine(DETOKENIZER.tokenizer, max_model_len=1024)
        replica = Replica(engine, DETOKENIZER, "r0", 0, coordinator.address)
        task = asyncio.create_task(replica.run())
        await coordinator.hello("r0", incarnation=0)
        await true(lambda: replica.incarnation == 5)
        await coordinator.close()
        await coordinator.open()
        await coordinator.hello("r0", incarnation=5)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_refused_replica_gives_up_with_the_reason() -> None:
    async with FakeCoordinator() as coordinator:
        coordinator.refuse = (grpc.StatusCode.FAILED_PRECONDITION, "the fleet serves another model")
        engine = SimulatedEngine(DETOKENIZER.tokenizer)
        with pytest.raises(SessionRefused, match="another model"):
            await Replica(engine, DETOKENIZER, "r0", 1, coordinator.address).run()


async def test_heartbeats_come_with_load_even_while_reports_flow() -> None:
    async with FakeCoordinator(heartbeat_s=0.05) as coordinator, served(coordinator, step_s=0.002):
        grants = coordinator.start_many("r0", PROMPT, AHEAD, 4, ignore_eos=True)
        await coordinator.ended(*grants)
        await true(lambda: len(coordinator.beats_of("r0")) >= 5)
        assert max(beat.running for beat in coordinator.beats_of("r0")) == 4
        assert max(beat.kv_usage for beat in coordinator.beats_of("r0")) > 0
        await true(lambda: coordinator.beats_of("r0")[-1].generated_tokens == 4 * (225 - len(PROMPT)))


async def test_the_report_of_the_last_end_says_that_the_kv_cache_is_free() -> None:
    async with FakeCoordinator(heartbeat_s=60.0) as coordinator, served(coordinator):
        await coordinator.ended(*coordinator.start_many("r0", PROMPT, AHEAD, 4, ignore_eos=True))
        usages = [report.kv_usage for _, report in coordinator.reports]
        assert max(usages[:-1]) > 0
        assert usages[-1] == 0.0


async def test_a_paused_replica_reports_nothing_until_it_is_resumed() -> None:
    async with FakeCoordinator() as coordinator, served(coordinator):
        coordinator.send("r0", wire.Commands(paused=True))
        grant = coordinator.start("r0", PROMPT, AHEAD)
        await asyncio.sleep(0.2)
        assert coordinator.grants[grant].segments == []
        coordinator.send("r0", wire.Commands(paused=False))
        await coordinator.ended(grant)


async def test_a_drained_replica_finishes_its_work_and_returns() -> None:
    async with FakeCoordinator() as coordinator:
        engine = SimulatedEngine(DETOKENIZER.tokenizer, latency=SimulatedLatency(step_s=0.001))
        replica = Replica(engine, DETOKENIZER, "r0", 1, coordinator.address)
        task = asyncio.create_task(replica.run())
        await coordinator.hello("r0")
        grant = coordinator.start("r0", PROMPT, AHEAD, ignore_eos=True)
        coordinator.send("r0", wire.Commands(draining=wire.Draining(within_s=600, cause="the pool shrinks")))
        async with asyncio.timeout(300):
            await task
        [told] = await coordinator.ended(grant)
        assert told.end.reason == wire.END_REASON_LENGTH


async def test_a_replica_that_leaves_says_goodbye_whatever_runs() -> None:
    async with FakeCoordinator() as coordinator:
        engine = SimulatedEngine(DETOKENIZER.tokenizer, max_model_len=1024, latency=SimulatedLatency(step_s=0.05))
        replica = Replica(engine, DETOKENIZER, "r0", 1, coordinator.address)
        task = asyncio.create_task(replica.run())
        await coordinator.hello("r0")
        coordinator.start("r0", PROMPT, AHEAD, ignore_eos=True)
        await true(lambda: replica.live_branches == 1)
        replica.leave()
        await asyncio.wait_for(task, 300)
        assert coordinator.goodbyes == ["r0"]


async def test_a_dead_engine_ends_the_replica() -> None:
    async with FakeCoordinator() as coordinator:
        for busy in (True, False):
            engine = SimulatedEngine(DETOKENIZER.tokenizer, latency=SimulatedLatency(step_s=0.01))
            task = asyncio.create_task(Replica(engine, DETOKENIZER, "r0", 1 + busy, coordinator.address).run())
            await coordinator.hello("r0", 1 + busy)
            if busy:
                coordinator.start("r0", PROMPT, AHEAD, ignore_eos=True)
                await true(lambda engine=engine: engine.stats().running == 1)  # type: ignore[misc]
            engine.die("out of memory")
            with pytest.raises(EngineError, match=r"out of memory|died"):
                await task


async def test_many_branches_need_few_messages() -> None:
    async with FakeCoordinator() as coordinator, served(coordinator, step_s=0.001) as (replica, _):
        grants = coordinator.start_many("r0", PROMPT, AHEAD, 60, ignore_eos=True)
        await coordinator.ended(*grants)
        segments = sum(len(report.segments) for _, report in coordinator.reports)
        assert segments == 60 * 7
        assert len(coordinator.reports) <= segments // 4
        assert max(len(report.segments) for _, report in coordinator.reports) <= 128
        assert tokens_balance(replica)
