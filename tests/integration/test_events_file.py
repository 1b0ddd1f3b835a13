"""`events.parquet` of a rollout: what the service decided, each decision once, and what is missing is said."""

import contextlib
import json
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

from redis import Redis
from tests.support.rollouts import rollout

from treeroll.cli.decisions import decisions_of
from treeroll.records.events import Event, Tick, encode
from treeroll.results.directory import Mode, ResultDir
from treeroll.results.reader import ResultReader
from treeroll.results.session import Session
from treeroll.store import keys
from treeroll.store.base import Commit
from treeroll.store.embedded import EmbeddedRedis
from treeroll.store.redis import RedisStore
from treeroll.testing.service import LocalService, local_service


@contextlib.asynccontextmanager
async def logging_service(redis: EmbeddedRedis) -> AsyncIterator[LocalService]:
    store = RedisStore(redis.url)
    async with local_service(store, events_mb=16) as service:
        yield service
    await store.close()


async def test_what_a_service_decides_is_written_with_why_and_read_by_what_people_read_files_with(
    tmp_path: Path, empty_redis: EmbeddedRedis
) -> None:
    import datasets
    import pandas as pd

    out = tmp_path / "out"
    async with logging_service(empty_redis) as service:
        service.start_replica("r0", slots=32)
        assert await rollout(service, out, limit=10) == 0
    assert json.loads((out / "summary.json").read_text())["decisions_missing"] == []
    events = pd.read_parquet(out / "events.parquet")
    nodes = pd.read_parquet(out / "nodes.parquet")
    assert set(events["tree_id"]) == set(nodes["tree_id"])
    assert events["at"].is_monotonic_increasing
    forked = events[events["kind"] == "forked"].set_index(["tree_id", "path"])["why"]
    explained = nodes[nodes["why"].notna()].set_index(["tree_id", "path"])["why"]
    assert {place: why["rule"] for place, why in forked.items()} == {
        place: why["rule"] for place, why in explained.items()
    }
    assert all(len(why["terms"]) for why in forked if why["rule"] != "start")
    waited = events[events["kind"] == "granted"]["waited_s"]
    assert len(waited) == nodes["waited_s"].notna().sum()
    assert (waited >= 0).all()
    assert (events["kind"] == "ended").sum() == (events["kind"] == "started").sum() == 10
    loaded = datasets.load_dataset("parquet", data_files=str(out / "events.parquet"), cache_dir=str(tmp_path / "cache"))
    assert loaded["train"].num_rows == len(events)


async def test_a_rollout_that_goes_on_has_each_decision_once(tmp_path: Path, empty_redis: EmbeddedRedis) -> None:
    out = tmp_path / "out"
    async with logging_service(empty_redis) as service:
        service.start_replica("r0", slots=32)
        assert await rollout(service, out, limit=5) == 0
        assert await rollout(service, out, limit=10, mode=Mode.RESUME) == 0
    kinds = Counter((row["tree_id"], row["kind"]) for row in ResultReader(ResultDir(out)).rows("events"))
    trees = {row["tree_id"] for row in ResultReader(ResultDir(out)).rows("trees")}
    assert {tree for tree, _ in kinds} == trees
    assert {(kinds[tree, "started"], kinds[tree, "ended"]) for tree in trees} == {(1, 1)}


async def test_a_rollout_says_when_decisions_were_gone_before_it_could_read_them(
    empty_redis: EmbeddedRedis,
) -> None:
    store = RedisStore(empty_redis.url)
    epoch = await store.open()
    session = Session("run")
    async with decisions_of(empty_redis.url, session, begun=False) as decisions:
        assert decisions is not None
        for name in ("a", "b"):
            ticks = {run: encode(Tick(1.0, epoch, [Event("started", run, name)])) for run in ("run", "other")}
            await store.commit(Commit(ticks=ticks, ticks_kept=1 << 20), epoch)
        with Redis.from_url(empty_redis.url) as redis:
            redis.xtrim(keys.TICKS, maxlen=2, approximate=False)
        rest = await decisions.finish()
    assert rest is not None
    assert rest["tree_id"].to_pylist() == ["b"]
    assert "bytes of the service's log of decisions were gone" in session.decisions_missing
    await store.close()
