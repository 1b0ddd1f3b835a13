"""What a node of a Ray cluster has, found out there."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from treeroll.channels import Pass
from treeroll.errors import InvalidInput
from treeroll.generator.gpus import visible_gpus
from treeroll.generator.origin import software
from treeroll.generator.reached import why_unreached
from treeroll.weights.model_digest import model_digest

Answer = dict[str, Any]
"""Plain values by the names of NodeFacts' fields."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be found out on each node."""

    models: tuple[str, ...]
    """Directories, as replicas would be told them."""
    addresses: tuple[str, ...]
    """Of the coordinator, and of those that stand by for it."""
    shown: Pass
    """What replicas would show to these."""


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What a node answered."""

    node: str
    """Its name, for people."""
    treeroll: str = ""
    """Version; "" where there is none."""
    python: str = ""
    ray: str = ""
    auth_mode: str = ""
    """RAY_AUTH_MODE of the node's Ray."""
    shm_free: int = 0
    """Bytes that are free in /dev/shm."""
    disk_free: int = 0
    """Bytes that are free where temporary files lie."""
    ahead_s: float = 0.0
    """How far its clock is ahead of ours, at least: by how much more than the time that its answer took."""
    models: dict[str, str] = field(default_factory=dict)
    """Digest of each model."""
    missing: dict[str, str] = field(default_factory=dict)
    """Models that cannot be read there, with the reason."""
    unreached: dict[str, str] = field(default_factory=dict)
    """Addresses of which none answers there, with the reason; empty if one of them does."""
    gpus: tuple[str, ...] = ()
    software: dict[str, str] = field(default_factory=dict)


def bare() -> Answer:
    """What there is on a node, whatever of treeroll. It travels as it is, so it imports what it needs itself."""
    import os
    import platform
    import shutil
    import tempfile
    import time
    from importlib import import_module

    def free(folder: str) -> int:
        try:
            return shutil.disk_usage(folder).free
        except OSError:
            return 0

    try:
        treeroll = import_module("treeroll").__version__
    except ImportError:
        treeroll = ""
    return {
        "treeroll": treeroll,
        "python": platform.python_version(),
        "ray": import_module("ray").__version__,
        "auth_mode": os.environ.get("RAY_AUTH_MODE", ""),
        "shm_free": free("/dev/shm"),  # noqa: S108 - the system's
        "disk_free": free(tempfile.gettempdir()),
        "now": time.time(),
    }


def of_treeroll(question: Question) -> Answer:
    """What treeroll on a node can say of it."""
    models, missing = {}, {}
    for model in question.models:
        try:
            if not Path(model).is_dir():
                raise InvalidInput("it is not there")
            models[model] = model_digest(Path(model))
        except InvalidInput as error:
            missing[model] = str(error)
    return {
        "models": models,
        "missing": missing,
        "unreached": asyncio.run(_unreached(question)),
        # A task without GPUs sees none by the environment that Ray gives it.
        "gpus": tuple(visible_gpus({})),
        "software": software(),
    }


async def _unreached(question: Question) -> dict[str, str]:
    reasons = {address: await why_unreached(address, question.shown) for address in question.addresses}
    return {} if "" in reasons.values() else reasons
