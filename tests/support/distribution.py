"""Distributions as pip would leave them, for tests of entry points."""

from collections.abc import Mapping
from pathlib import Path


def install(folder: Path, name: str, points: Mapping[str, str], modules: Mapping[str, str]) -> None:
    """Write modules and the metadata that declares the entry points of group treeroll.policies."""
    for module, source in modules.items():
        (folder / f"{module}.py").write_text(source)
    metadata = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = [f"{point} = {target}" for point, target in points.items()]
    (metadata / "entry_points.txt").write_text("\n".join(["[treeroll.policies]", *lines, ""]))
