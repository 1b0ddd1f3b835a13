"""Fixtures that several folders share; the rest lives in the folder that uses it."""

import signal
from collections.abc import Generator, Iterator

import pytest
from hypothesis import HealthCheck, settings
from redis import Redis
from tests.support.transformers_child import TransformersChild

from treeroll.model import facts
from treeroll.store.embedded import EmbeddedRedis

# Under nohup a SIGHUP is ignored, and a SIGINT behind a shell's &, by what tests start as well, and rightly so; tests
# send some.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Limits of time would make timed tests of them, which fail wherever a machine is busy.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    """A real Redis for the whole session. Use ids of your own: others use it before and after you."""
    with EmbeddedRedis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def empty_redis(redis_server: EmbeddedRedis) -> EmbeddedRedis:
    """The same with nothing in it, for a service: it goes on with whatever runs it finds."""
    with Redis.from_url(redis_server.url) as redis:
        redis.flushall()
    return redis_server


@pytest.fixture(scope="session", autouse=True)
def transformers_child() -> Iterator[None]:
    """Tests have many models, and each would import transformers; tests/unit/test_model_facts.py has one that does."""
    with TransformersChild() as child, pytest.MonkeyPatch.context() as patch:
        patch.setattr(facts, "subprocess", child)
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Captured output may hold what is no Unicode, which processes of pytest-xdist cannot tell each other."""
    report = yield
    report.sections = [(name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections]
    return report


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Dear files first, or one process is still at the last of them when the others have nothing to do."""
    dear = {item.path for item in items if item.get_closest_marker("slow")}
    dearest = {item.path for item in items if item.get_closest_marker("vllm")}
    items.sort(key=lambda item: (item.path not in dearest, item.path not in dear))
