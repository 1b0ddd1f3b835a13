"""What trainers of the examples leave behind: which lines stand, and whether every tree was trained on once."""

import json
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from treeroll.demo.arithmetic import training_tasks
from treeroll.examples.curve import draw
from treeroll.examples.learning_log import account, main, read_curve, standing

torch = pytest.importorskip("torch")
TASKS = [str(task["id"]) for task in islice(training_tasks(), 8)]


def leave(folder: Path, journal: list[dict[str, Any]], step: int, taken: int, waiting: list[str]) -> None:
    (folder / "journal.jsonl").write_text("".join(json.dumps(line) + "\n" for line in journal))
    torch.save({"step": step, "taken": taken, "waiting": {task: {} for task in waiting}}, folder / "checkpoint.pt")


def steps(*tasks: list[str]) -> list[dict[str, Any]]:
    return [{"step": step, "tasks": list(own)} for step, own in enumerate(tasks, 1)]


def test_a_line_takes_back_those_that_are_not_of_an_earlier_step() -> None:
    lines = [{"step": step, "life": life} for life, step in ((1, 1), (1, 2), (1, 3), (2, 2), (2, 3), (3, 3))]
    assert standing(lines) == [{"step": 1, "life": 1}, {"step": 2, "life": 2}, {"step": 3, "life": 3}]


def test_steps_after_the_checkpoint_do_not_count(tmp_path: Path) -> None:
    leave(tmp_path, steps(TASKS[:2], TASKS[2:4], TASKS[4:6]), step=2, taken=8, waiting=TASKS[4:])
    found = account(tmp_path)
    assert (found.steps, found.trained, found.twice, found.never, found.waiting) == (2, 4, (), (), 4)


def test_a_life_that_goes_on_replaces_what_the_killed_one_did_after_its_checkpoint(tmp_path: Path) -> None:
    lives = [*steps(TASKS[:2], TASKS[2:4]), {"step": 2, "tasks": [TASKS[4], TASKS[2]]}]
    leave(tmp_path, lives, step=2, taken=5, waiting=[TASKS[3]])
    found = account(tmp_path)
    assert (found.trained, found.twice, found.never) == (4, (), ())


@pytest.mark.parametrize(
    ("second", "waiting", "twice", "never"),
    [
        ([TASKS[0], TASKS[2]], [], (TASKS[0],), (TASKS[3],)),
        ([TASKS[2]], [], (), (TASKS[3],)),
        (TASKS[2:4], [TASKS[3]], (TASKS[3],), ()),
        ([*TASKS[2:4], "train-999999"], [], ("train-999999",), ()),
    ],
    ids=["again in a later step", "in none", "still waiting although trained on", "of nobody's"],
)
def test_what_was_trained_on_twice_and_what_was_lost_is_named(
    tmp_path: Path, second: list[str], waiting: list[str], twice: tuple[str, ...], never: tuple[str, ...]
) -> None:
    leave(tmp_path, steps(TASKS[:2], second), step=2, taken=4, waiting=waiting)
    found = account(tmp_path)
    assert (found.twice, found.never) == (twice, never)


@pytest.mark.parametrize(("second", "status"), [(TASKS[2:4], 0), ([TASKS[1], *TASKS[2:4]], 1), ([TASKS[2]], 1)])
def test_the_command_fails_if_a_tree_was_trained_on_twice_or_never(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, second: list[str], status: int
) -> None:
    leave(tmp_path, steps(TASKS[:2], second), step=2, taken=4, waiting=[])
    monkeypatch.setattr("sys.argv", ["learning_log", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == status


def test_a_curve_is_read_and_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    header = "step,weight_version,seconds,engine_tokens,reward,held_out_reward"
    (tmp_path / "curve.csv").write_text(
        f"{header}\n0,1,5.0,0,0.3,0.3\n10,11,60.5,9000,0.35,0.36\n10,14,70.0,9100,0.4,0.41\n"
    )
    assert [row["held_out_reward"] for row in read_curve(tmp_path)] == [0.3, 0.41]
    draw([tmp_path, tmp_path / "nothing"], tmp_path / "curve.png")
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
