"""A replica's own metrics, as Prometheus reads them: real scrapes of real replicas, and who may make them."""

import asyncio
import json
import ssl
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from tests.support.access import Credentials
from tests.support.command import Command
from tests.support.eventually import eventually
from tests.support.pace import PATIENT
from tests.support.ports import free_port
from tests.support.promtool import promtool

from treeroll.client import connect_async
from treeroll.config import parse
from treeroll.demo import TASKS_FILE
from treeroll.errors import InvalidInput
from treeroll.generator.config import GeneratorConfig
from treeroll.generator.exporter import exporting
from treeroll.generator.exporter_config import ExporterConfig
from treeroll.metrics.catalogue import REPLICA_CATALOGUE
from treeroll.metrics.replica import STATES, ReplicaSeen
from treeroll.metrics.targets import targets
from treeroll.pb.v1.watch_pb2 import Snapshot
from treeroll.tasks import read_tasks
from treeroll.testing.service import local_service

DEPLOY = Path(__file__).parents[2] / "deploy"
SEEN = ReplicaSeen("r0", "small", "1.0", "ready", 3, 2, 0.25, 1, 4096)


def ask(url: str, token: str = "", roots: str | None = None) -> httpx.Response:
    context = ssl.create_default_context(cafile=roots)
    return httpx.get(url, headers={"authorization": f"Bearer {token}"} if token else {}, verify=context, timeout=300)


def scrape(url: str, token: str = "", roots: str | None = None) -> bytes:
    """What is answered there."""
    answer = ask(url, token, roots)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return answer.content


def figures(text: bytes) -> dict[str, float]:
    """By name, and by name and state where it has one."""
    return {
        one.name + (f" {one.labels['state']}" if "state" in one.labels else ""): one.value
        for family in text_string_to_metric_families(text.decode())
        for one in family.samples
    }


async def test_a_replica_of_its_own_is_scraped_at_the_address_that_status_says(tmp_path: Path) -> None:
    async with AsyncExitStack() as service_ends, AsyncExitStack() as stack:
        service = await service_ends.enter_async_context(local_service(coordinator=PATIENT))
        asked = ("--address", service.address, "--name", "a", "--engine", "simulated")
        command = Command(["replica", *asked, "--set", "generator.metrics.port=0"], tmp_path / "log")
        replica = stack.enter_context(command)
        await asyncio.to_thread(replica.until, lambda: "works for" in replica.output())
        async with await connect_async(service.address) as client:
            [status] = (await client.status()).replicas
            url = status.origin.metrics
            run = await client.create_run("run", recipe="flat", leaves=2, segment_tokens=32, scorer="arith")
            await run.submit(read_tasks(TASKS_FILE, limit=2))
            await run.close()
            async for batch in run.batches():
                await batch.ack()
            spent = (await run.status()).ledger.spent
        text = await asyncio.to_thread(scrape, url)
        checked = promtool(["check", "metrics"], text)
        assert checked.returncode == 0, (checked.stdout + checked.stderr).decode()
        found = figures(text)
        names = {name.partition(" ")[0] for name in found}
        assert names == {metric.full_name for metric in REPLICA_CATALOGUE}  # and nothing else: no vLLM, no process
        assert found["treeroll_replica_tokens_total"] == spent
        assert [found[f"treeroll_replica_state {state}"] for state in STATES] == [0, 0, 1, 0]
        with Command(["status", "--address", service.address], tmp_path / "status") as told:
            assert await asyncio.to_thread(told.wait) == 0
        assert f"a {url}" in " ".join(told.output().split())
        await service_ends.aclose()

        async def looks_for_its_coordinator() -> bool:
            return figures(await asyncio.to_thread(scrape, url))["treeroll_replica_state connecting"] == 1

        await eventually(looks_for_its_coordinator)


def test_beyond_loopback_it_takes_tls_and_tokens() -> None:
    for given in ({}, {"tokens": "t"}, {"certificate": "c", "key": "k"}):
        with pytest.raises(InvalidInput, match=r"metrics\.host is 0\.0\.0\.0, and without .* it must be of loopback"):
            parse(GeneratorConfig, {"metrics": {"host": "0.0.0.0", "port": 0, **given}}, "x")  # noqa: S104
    with pytest.raises(InvalidInput, match=r"metrics\.certificate is c and metrics\.key is None; set both or none"):
        parse(GeneratorConfig, {"metrics": {"certificate": "c"}}, "x")


def test_a_scrape_needs_a_token_of_a_role_that_may_look_at_all_runs(tmp_path: Path) -> None:
    credentials = Credentials(tmp_path)
    viewer, bound = credentials.token("viewer", "prometheus"), credentials.token("viewer", "one", "runs=a")
    trainer = credentials.token("client", "trainer")
    access = credentials.config(tls=True)
    config = ExporterConfig(port=0, tokens=access.tokens, certificate=access.certificate, key=access.key)
    with exporting(config, lambda: SEEN, with_process=False) as url:
        assert url.startswith("https://127.0.0.1:")
        assert figures(scrape(url, viewer, credentials.ca))["treeroll_replica_reconnects_total"] == 2
        missing = ask(url, roots=credentials.ca)
        assert (missing.status_code, missing.text) == (401, "this replica wants a token of its service, role viewer")
        for token, code in ((trainer, 403), (bound, 403), ("another", 401)):
            assert ask(url, token, credentials.ca).status_code == code
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            scrape(url, viewer)
        assert ask(url.replace("/metrics", "/other"), viewer, credentials.ca).status_code == 404


def test_a_port_that_is_taken_is_said_and_one_that_is_given_back_can_be_had_again() -> None:
    config = ExporterConfig(port=free_port())
    with (
        exporting(config, lambda: SEEN, with_process=False),
        pytest.raises(InvalidInput, match=r"in use\); give another generator\.metrics\.port"),
        exporting(config, lambda: SEEN, with_process=False),
    ):
        pass
    with exporting(config, lambda: SEEN, with_process=False) as url:
        assert figures(scrape(url))["treeroll_replica_unacked_segments"] == 3


def test_without_a_port_nothing_listens() -> None:
    with exporting(ExporterConfig(), lambda: SEEN, with_process=False) as url:
        assert url == ""


def test_targets_are_those_replicas_that_say_where_and_are_there_still() -> None:
    snapshot = Snapshot()
    for name, state, url in (
        ("a", "ready", "https://gpu-1:9464/metrics"),
        ("b", "lost", "https://gpu-2:9464/metrics"),
        ("c", "ready", ""),
        ("d", "ready", "https://user@evil.example:80/metrics"),
        ("e", "ready", "https://evil.example:80/steal?to=/metrics"),
        ("f", "suspect", "http://[::1]:9464/metrics"),
    ):
        snapshot.replicas.add(replica_id=name, pool="p", state=state).origin.metrics = url
    found = targets(snapshot)
    assert [(one["labels"]["replica"], one["targets"]) for one in found] == [
        ("a", ["gpu-1:9464"]),
        ("f", ["[::1]:9464"]),
    ]
    assert found[0]["labels"] == {
        "__scheme__": "https",
        "__metrics_path__": "/metrics",
        "replica": "a",
        "pool": "p",
    }
    assert targets(None) == []
    json.dumps(found)


@pytest.mark.parametrize("file", ["scrape.yaml", "compose.yaml"])
def test_prometheus_takes_what_deploy_has_for_it(file: str, tmp_path: Path) -> None:
    config = yaml.safe_load((DEPLOY / "prometheus" / file).read_text())
    text = yaml.safe_dump(config).replace("/run/secrets", str(tmp_path))
    for name in ("treeroll-viewer", "treeroll-replicas-viewer", "metrics.token"):
        (tmp_path / name).write_text("x")
    credentials = Credentials(tmp_path)
    credentials.certificate()
    (tmp_path / "metrics-ca.pem").write_bytes(Path(credentials.ca).read_bytes())
    (tmp_path / "config.yaml").write_text(text)
    checked = promtool(["check", "config", str(tmp_path / "config.yaml")])
    assert checked.returncode == 0, (checked.stdout + checked.stderr).decode()
