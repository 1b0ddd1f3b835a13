"""A Ray cluster that refuses this process says so in one sentence, and Ray's library adds nothing to it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest

# Ray reads its settings when it is imported.
JOIN = """
import sys
from treeroll.errors import InvalidInput
from treeroll.generator.ray_cluster import RayCluster
from treeroll.generator.ray_config import RayConfig

try:
    RayCluster(RayConfig(address=sys.argv[1])).start(300.0)
except InvalidInput as error:
    print(error, file=sys.stderr)
    sys.exit(2)
"""


class Refused(grpc.ServerInterceptor):
    """Every call is without the right token."""

    def intercept_service(self, continuation: Any, details: grpc.HandlerCallDetails) -> Any:
        def refuse(request: bytes, context: grpc.ServicerContext) -> bytes:
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "InvalidAuthToken")

        return grpc.unary_unary_rpc_method_handler(refuse)


@pytest.fixture(scope="module")
def head() -> Iterator[str]:
    """The address of one that wants a token."""
    server = grpc.server(ThreadPoolExecutor(2), interceptors=[Refused()])
    port = server.add_insecure_port("0.0.0.0:0")  # of loopback Ray makes this machine's own address
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


@pytest.mark.parametrize(
    ("env", "why"),
    [
        ({"RAY_AUTH_TOKEN": "another" * 8}, "the token in this environment is another"),
        ({"RAY_AUTH_MODE": "disabled"}, "there is none in this environment"),
        ({}, "there is none in this environment"),
    ],
)
def test_a_wrong_or_missing_token_is_told_in_one_line(head: str, tmp_path: Path, env: dict[str, str], why: str) -> None:
    assert f"wants its token, and {why}: set RAY_AUTH_MODE=token" in refusal(head, tmp_path, env)


@pytest.mark.parametrize(
    ("env", "why"),
    [
        ({}, "the token in this environment is another"),
        ({"RAY_AUTH_MODE": "disabled"}, "RAY_AUTH_MODE=disabled keeps the one in this environment from being shown"),
    ],
)
def test_the_token_in_rays_own_place_is_shown_unless_told_otherwise(
    head: str, tmp_path: Path, env: dict[str, str], why: str
) -> None:
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("another" * 8)
    assert f"wants its token, and {why}: set RAY_AUTH_MODE=token" in refusal(head, tmp_path, env)


def refusal(head: str, home: Path, env: dict[str, str]) -> str:
    """What one in this environment hears, in one line."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    inherited["HOME"] = str(home)
    joining = subprocess.run(
        [sys.executable, "-c", JOIN, head], env=inherited | env, capture_output=True, text=True, check=False
    )
    assert joining.returncode == 2, joining.stderr
    assert joining.stderr.count("\n") == 1, joining.stderr
    return joining.stderr
