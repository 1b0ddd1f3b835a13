"""What `scripts/test` makes of tests that fail beside others: few may try again, by themselves, and are named."""

import subprocess
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
SETUP = "ROOT=$PWD\nneed_chromium() { :; }\nneed_iproute2() { :; }\nneed_tmux() { :; }\nneed_promtool() { :; }\n"
ADAPTERS = "adapters() { :; }\n"
# Passes as soon as it has failed once.
UNSTEADY = """
from pathlib import Path
import pytest

@pytest.mark.parametrize("number", range({count}))
def test_unsteady(number):
    once = Path(f"once-{{number}}")
    seen = once.exists()
    once.touch()
    assert seen
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A repository with the script, and one test that passes in each of its runs."""
    (tmp_path / "scripts").mkdir()
    for name in ("test", "_beside.sh"):
        (tmp_path / "scripts" / name).write_text((SCRIPTS / name).read_text())
    (tmp_path / "scripts" / "_setup.sh").write_text(SETUP)
    (tmp_path / "scripts" / "_adapters.sh").write_text(ADAPTERS)
    (tmp_path / "deploy" / "locks").mkdir(parents=True)
    (tmp_path / "deploy" / "locks" / "adapters-odd.txt").touch()
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\naddopts = -p no:asyncio -p no:hypothesispytest\nmarkers =\n    timing\n    dear\n"
    )
    timed = "import pytest\n@pytest.mark.timing\ndef test_time(): pass\n"
    for folder, text in (("unit", timed), ("integration", ""), ("cluster", ""), ("adapters/odd", "")):
        (tmp_path / "tests" / folder).mkdir(parents=True)
        (tmp_path / "tests" / folder / "test_good.py").write_text(f"def test_good(): pass\n{text}")
    return tmp_path


def run(tree: Path, *arguments: str) -> tuple[int, str]:
    """The script's exit status and what it said."""
    command = ["bash", "scripts/test", *arguments]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False, timeout=600)
    return done.returncode, done.stdout + done.stderr


def test_what_fails_beside_others_and_passes_by_itself_is_named(tree: Path) -> None:
    (tree / "tests" / "unit" / "test_odd.py").write_text(UNSTEADY.format(count=2))
    status, said = run(tree)
    assert status == 0, said
    named = said.partition("so they are to be mended:")[2]
    assert [line for line in named.splitlines() if line] == [
        "tests/unit/test_odd.py::test_unsteady[0]",
        "tests/unit/test_odd.py::test_unsteady[1]",
        "scripts/test: passed",
    ]


def test_what_fails_again_fails_the_run(tree: Path) -> None:
    (tree / "tests" / "unit" / "test_wrong.py").write_text("def test_wrong(): assert False\n")
    status, said = run(tree, "-n1")
    assert status == 1
    assert "once more, each by itself: tests/unit/test_wrong.py::test_wrong" in said
    assert "to be mended" not in said
    assert said.endswith("scripts/test: FAILED (pytest's exit status 1)\n")


def test_more_than_a_few_are_not_tried_again_in_one_run_or_in_several(tree: Path) -> None:
    (tree / "tests" / "integration" / "test_odd.py").write_text(UNSTEADY.format(count=4))
    status, said = run(tree, "-n1")
    assert status == 1
    assert "once more" not in said
    for once in tree.glob("once-*"):
        once.unlink()
    (tree / "tests" / "integration" / "test_odd.py").write_text(UNSTEADY.format(count=3))
    (tree / "tests" / "cluster" / "test_more.py").write_text(UNSTEADY.format(count=1).replace("once-", "also-"))
    status, said = run(tree, "-n1")
    assert status == 1
    assert "tests/integration/test_odd.py::test_unsteady[2]" in said.partition("so they are to be mended:")[2]


def test_tests_that_are_named_are_not_tried_again(tree: Path) -> None:
    (tree / "tests" / "unit" / "test_odd.py").write_text(UNSTEADY.format(count=1))
    status, said = run(tree, "-n1", "tests/unit")
    assert status == 1
    assert "once more" not in said
