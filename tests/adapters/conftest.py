"""Adapters whose libraries do not go with the locks. scripts/test runs each folder with its own on the path.

Elsewhere they are not collected; there, ADAPTERS names the folder, and a library that does not import is a failure.
"""

import os
import warnings
from importlib import import_module
from pathlib import Path

HERE = Path(__file__).parent
FOLDER = os.environ.get("ADAPTERS")
LIBRARIES = {
    "skyrl": ["skyrl"],
    "tasks": ["reasoning_gym", "verifiers.v1"],
    "trl": ["trl"],
    "verl": ["verl", "verl.trainer.ppo.core_algos"],
}

collect_ignore = [folder.name for folder in HERE.iterdir() if folder.is_dir() and folder.name != FOLDER]

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what they say to their own authors
    for library in LIBRARIES.get(FOLDER or "", []):
        import_module(library)
