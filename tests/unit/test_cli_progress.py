"""What is said while a rollout runs."""

import io

import pytest
from rich.console import Console

from treeroll.cli import progress
from treeroll.cli.progress import LiveDisplay, PlainDisplay, Rate, Snapshot

SNAPSHOT = Snapshot(
    total=200,
    trees=12,
    failed=1,
    leaves=3456,
    generated_tokens=50_000,
    sharing=1.625,
    caps=[("tokens", 50_000, 100_000), ("tool_calls", 3, 8)],
    mean_reward=0.4567,
    reward_errors=2,
    replicas=[("r0", "ready", 3, 8), ("r1", "lost", 0, 8)],
)
SAID = (
    "12/200 trees",
    "3,456 leaves",
    "sharing 1.62",
    "budget: 50,000 of 100,000 tokens, 3 of 8 tool calls",
    "mean reward 0.457",
    "1 failed",
    "2 reward errors",
)


def test_a_line_says_everything_and_not_too_often(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    display = PlainDisplay()
    for _ in range(20):
        now += 1.0
        display.update(SNAPSHOT)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4
    assert all(words in lines[0] for words in SAID)


def test_what_is_unknown_is_left_out(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PLAIN_EVERY_S", -1.0)
    PlainDisplay().update(Snapshot(total=3))
    assert capsys.readouterr().err == "0/3 trees, 0 leaves, 0 tokens/s\n"


def test_the_panel_shows_figures_and_replicas_on_lines_of_their_own() -> None:
    console = Console(file=io.StringIO(), width=160, force_terminal=True, color_system=None)
    display = LiveDisplay(console)
    display.update(SNAPSHOT)
    display.say("task \x1b[2J ended")
    display.close()
    display.close()
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert all(
        words in text
        for words in (*SAID, "r0       ready       3/8", "r1       lost        0/8", "task \\x1b[2J ended")
    )
    figures = next(line for line in text.splitlines() if "12/200 trees" in line)
    assert "━" not in figures


def test_many_replicas_are_counted() -> None:
    console = Console(file=io.StringIO(), width=120)
    replicas = [(f"r{i}", "lost" if i == 3 else "ready", 1, 8) for i in range(1000)]
    console.print(progress._panel(Snapshot(total=1, replicas=replicas), 0.0))
    assert "1000 replicas: 999 ready, 1 lost" in console.file.getvalue()  # type: ignore[attr-defined]


def test_the_rate_is_that_of_the_last_seconds() -> None:
    rate = Rate()
    readings = [rate.update(float(second), 100 * second if second < 30 else 3000) for second in range(50)]
    assert readings[5] == pytest.approx(100)
    assert readings[29] == pytest.approx(100)
    assert readings[49] == 0.0
