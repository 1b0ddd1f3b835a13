"""Tests of adapters are run: each folder of theirs has a lock that scripts/test installs, and each lock its tests."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = {path.parent.name for path in (ROOT / "tests" / "adapters").glob("*/test_*.py")}


def test_every_folder_of_adapters_has_a_lock_and_every_lock_has_tests() -> None:
    locks = (ROOT / "deploy" / "locks").glob("adapters-*.txt")
    assert {path.stem.removeprefix("adapters-") for path in locks} == FOLDERS


def test_every_folders_libraries_are_imported_before_its_tests_so_that_none_is_skipped_unseen() -> None:
    conftest = (ROOT / "tests" / "adapters" / "conftest.py").read_text(encoding="utf-8")
    assert all(f'"{folder}": [' in conftest for folder in FOLDERS)
