"""Commits of the store against plain pushes of the same records: what atomicity, fencing and order cost."""

import asyncio
import csv
import itertools
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from urllib.parse import unquote, urlsplit

import hiredis

from treeroll.bench import redis_tools
from treeroll.bench.finished_trees import FinishedTrees, TreeShape
from treeroll.bench.result import Column, Result
from treeroll.bench.rounds import Figures, Variant, run_rounds
from treeroll.errors import InvalidInput, TreerollError
from treeroll.store.base import Commit
from treeroll.store.embedded import EmbeddedRedis
from treeroll.store.redis import RedisStore

COLUMNS = (
    Column("nodes_s", "nodes/s", 0, ratio_to="push"),
    Column("mib_s", "MiB/s", 0),
    Column("redis_us", "Redis us/node", 2),
)
# Nodes that one commit adds to a tree.
PER_TREE = 4
RUN_ID = "bench"
ANSWER_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Load:
    """What is written."""

    nodes: int = 256
    """Per commit."""
    segment_tokens: int = 64
    durability: str = "everysec"
    seconds: float = 2.0
    """Figures of one round."""


def commits(load: Load) -> Iterator[Commit]:
    """Trees grow side by side, a few nodes at a time, and are followed by new ones; each commit writes the run too."""
    finished = FinishedTrees(TreeShape(segment_tokens=load.segment_tokens)).commit(RUN_ID, 0, 16)
    trees = [[record for _, record in rows] for rows in finished.nodes.values()]
    width = max(1, load.nodes // PER_TREE)
    for generation in itertools.count():
        for first in range(0, min(map(len, trees)) - PER_TREE, PER_TREE):
            commit = Commit(runs={RUN_ID: bytes(200)})
            for tree in range(width):
                records = trees[tree % len(trees)][first : first + PER_TREE]
                commit.nodes[f"{generation:08x}{tree:08x}"] = list(enumerate(records, first))
            yield commit


async def measure(load: Load, rounds: int, note: Callable[[str], None], warm_ups: int = 1) -> Result:
    """`commit`: RedisStore, one commit at a time. `push`: RPUSH of the same records, as many per round trip."""
    if load.nodes < PER_TREE:
        raise InvalidInput(f"--nodes {load.nodes}: a commit has at least {PER_TREE} nodes")
    with redis_tools.redis_server(load.durability) as server, redis_tools.connect(server) as client:

        def emptied(measured: Callable[[], Figures]) -> Variant:
            async def variant(_: int) -> Figures:
                client.flushall()
                before = redis_tools.cpu_s(client)
                found = dict(await asyncio.to_thread(measured))
                found["redis_us"] = 1e6 * (redis_tools.cpu_s(client) - before) / found["nodes"]
                return found

            return variant

        variants = {
            "push": emptied(lambda: push(server, load)),
            "commit": emptied(lambda: asyncio.run(commit_all(server, load))),
        }
        if program := shutil.which("redis-benchmark"):
            variants["redis-benchmark"] = emptied(lambda: redis_benchmark(program, server, load))
        measured = await run_rounds(variants, rounds, note, warm_ups)
    result = Result("store", asdict(load), measured, COLUMNS)
    if program is None:
        result.remarks.append("redis-benchmark is not installed: push, a pipelined client over hiredis, stands for it")
    return result


async def commit_all(server: EmbeddedRedis, load: Load) -> Figures:
    """Commit for so long."""
    store = RedisStore(server.url, durability=load.durability)
    epoch = await store.open()
    nodes = size = 0
    began = time.monotonic()
    for commit in commits(load):
        await store.commit(commit, epoch)
        count, more = _weigh(commit)
        nodes, size = nodes + count, size + more
        if time.monotonic() > began + load.seconds:
            break
    seconds = time.monotonic() - began
    await store.close()
    return _figures(nodes, size, seconds)


def push(server: EmbeddedRedis, load: Load) -> Figures:
    """The same records, each with an RPUSH of its own, one round trip for as many as a commit has."""
    nodes = size = 0
    reader = hiredis.Reader()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(unquote(urlsplit(server.url).path))
        began = time.monotonic()
        for commit in commits(load):
            commands = [
                hiredis.pack_command(("RPUSH", tree_id, record))
                for tree_id, rows in commit.nodes.items()
                for _, record in rows
            ]
            connection.sendall(b"".join(commands))
            for _ in commands:
                while reader.gets() is False:
                    reader.feed(connection.recv(ANSWER_BYTES))
            count, more = _weigh(commit)
            nodes, size = nodes + count, size + more
            if time.monotonic() > began + load.seconds:
                break
        seconds = time.monotonic() - began
    return _figures(nodes, size, seconds)


def redis_benchmark(program: str, server: EmbeddedRedis, load: Load) -> Figures:
    """Redis's own load generator: RPUSH of values of the mean size, pipelined alike."""
    count, size = _weigh(next(commits(load)))
    total = max(count, int(load.seconds * 100_000))
    command = [
        program, "-s", unquote(urlsplit(server.url).path), "-c", "1", "-P", str(count), "-n", str(total),
        "-d", str(size // count), "-t", "rpush", "--csv",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - fixed words
    rates = [row[1] for row in csv.reader(done.stdout.splitlines()) if row and row[0] == "RPUSH"]
    if not rates:
        raise TreerollError(f"{program} gave no rate for RPUSH: {done.stderr.strip() or done.stdout.strip()}")
    return _figures(total, total * size // count, total / float(rates[0]))


def _weigh(commit: Commit) -> tuple[int, int]:
    """Nodes and bytes of node records."""
    records = [record for rows in commit.nodes.values() for _, record in rows]
    return len(records), sum(map(len, records))


def _figures(nodes: int, size: int, seconds: float) -> Figures:
    return {"nodes": nodes, "nodes_s": nodes / seconds, "mib_s": size / seconds / 2**20}
