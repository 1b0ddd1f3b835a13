"""docs/first-hour.md does what it says: its files are written and its commands run, against a real service."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from treeroll.testing.service import running_service

DOC = Path(__file__).parents[2] / "docs" / "first-hour.md"
BLOCKS = re.findall(r"^```(sh|python|yaml)\n(.*?)^```", DOC.read_text(encoding="utf-8"), re.M | re.S)
SERVICES = Path(__file__).parents[2] / "services"


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """Where the page was followed, and what its shell blocks printed."""
    place = tmp_path_factory.mktemp("first")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    sources = os.pathsep.join([str(SERVICES), str(place)])
    environment = os.environ | {"PATH": path, "PYTHONPATH": sources, "COLUMNS": "160"}
    printed = []
    sys.path.insert(0, str(place))  # the service imports the page's scorer
    try:
        with running_service() as address:
            for kind, text in BLOCKS:
                text = text.replace("127.0.0.1:7070", address)
                if kind == "sh":
                    done = subprocess.run(
                        ["bash", "-euo", "pipefail", "-c", text], cwd=place, env=environment, text=True, check=False,
                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                    )  # fmt: skip
                    assert done.returncode == 0, f"{text}\n{done.stdout}"
                    printed.append(done.stdout)
                else:
                    name = text.partition("\n")[0].removeprefix("# ")
                    (place / name).write_text(text, encoding="utf-8")
    finally:
        sys.path.remove(str(place))
    return place, printed


def test_its_own_scorer_gave_the_rewards(said: tuple[Path, list[str]]) -> None:
    samples = pd.read_parquet(said[0] / "out" / "samples.parquet")
    assert samples.task_id.nunique() == 12
    assert set(samples.reward_status) == {"ok"}
    assert set(samples.reward) & {0.1 / terms for terms in (3, 4, 5)}


def test_the_trainer_that_died_got_every_other_tree_after_it_came_back(said: tuple[Path, list[str]]) -> None:
    (text,) = (text for text in said[1] if "died with its second batch" in text)
    before, after = text.split("died with its second batch")
    batches = [re.findall(r"sum-\d+", line) for line in before.splitlines() if line.startswith("[")]
    assert [len(tasks) for tasks in batches] == [3, 3]
    acknowledged, lost = batches
    later = re.findall(r"sum-\d+", after)
    assert sorted(acknowledged + later) == sorted(f"sum-{number}" for number in range(12))
    assert set(lost) <= set(later)


def test_the_recipes_are_plotted(said: tuple[Path, list[str]]) -> None:
    assert (said[0] / "compare.png").read_bytes().startswith(b"\x89PNG")


def test_the_list_names_every_task_and_what_it_wasted(said: tuple[Path, list[str]]) -> None:
    text = said[1][-1]
    assert all(f"sum-{number}" in text for number in range(12))
    assert "wasted" in text
    assert (said[0] / "sum-2.svg").exists()
