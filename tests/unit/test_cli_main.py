"""The command line as such: help, versions, errors as one sentence, exit codes."""

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from treeroll import __version__
from treeroll.cli.interrupts import Interrupted
from treeroll.cli.main import BAD_INPUT, FAILED, app
from treeroll.cli.preflight import Plan
from treeroll.demo import TASKS_FILE
from treeroll.errors import BrokenInvariant, InvalidInput, Unavailable
from treeroll.invariants import Invariant
from treeroll.pb.v1 import rollout_pb2
from treeroll.policies.registry import describe
from treeroll.store.base import Commit
from treeroll.store.memory import MemoryStore
from treeroll.testing.service import running_service

COMMANDS = ("rollout", "serve", "status", "inspect", "policies", "audit", "drain", "delete", "doctor", "health")
HEAVY = ("ray", "torch", "vllm", "grpc", "pyarrow", "pydantic", "transformers", "redis", "numpy")


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [
        (signal.SIGINT, 130, "stopped by Ctrl-C; nothing was written"),
        (signal.SIGTERM, 143, "stopped by SIGTERM; nothing was written"),
        (signal.SIGHUP, 129, "stopped by SIGHUP; nothing was written"),
    ],
)
def test_what_a_signal_ended_says_which_and_exits_with_128_and_its_number(
    number: signal.Signals, code: int, said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fails_with(Interrupted(number), monkeypatch)
    assert app.run(["status"]) == code
    assert capsys.readouterr().err == f"error: {said}\n"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(30, "Read-only file system", "/data/x"), "/data/x: Read-only file system"),
        (PermissionError(13, "Permission denied"), "Permission denied"),
        (OSError("the disk is on fire"), "the disk is on fire"),
    ],
)
def test_an_error_of_the_system_is_a_sentence_without_its_class(
    error: OSError, said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fails_with(error, monkeypatch)
    assert app.run(["status"]) == 1
    assert capsys.readouterr().err == f"error: {said}\n"


def fails_with(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever command is run raises this."""

    def command(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("typer.main.get_command", lambda app: command)


def error_of(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on stderr, without its `error: `."""
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert len(lines) == 1, err
    assert lines[0].startswith("error: ")
    return lines[0].removeprefix("error: ")


def test_help_is_quick_because_it_imports_nothing_heavy() -> None:
    script = (
        "import sys; from treeroll.cli.main import app; code = app.run(['--help']);"
        f"print([name for name in {HEAVY} if name in sys.modules], code, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300)
    assert done.stderr.strip() == "[] 0"
    assert all(command in done.stdout for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_teaches(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run([command, "--help"]) == 0
    assert f"treeroll {command}" in capsys.readouterr().out


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["--version"]) == 0
    assert capsys.readouterr().out == f"treeroll {__version__}\n"


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["rollout"], "Missing argument 'TASKS' (see `treeroll rollout --help`)"),
        (["rollout", "t.jsonl"], "Missing option '--out'"),
        (["rollout", "t.jsonl", "--out", "o", "--leaves", "many"], "Invalid value for '--leaves'"),
        (["rollout", "t.jsonl", "--out", "o", "--engine", "magic"], "'magic' is not one of 'vllm', 'simulated'"),
        (["rollout", "t.jsonl", "--out", "o", "--nonsense"], "No such option: --nonsense"),
        (["grow"], "No such command 'grow'"),
        (["inspect"], "give either --address of a service or --from a result directory"),
        (["inspect", "--address", "localhost:1"], "name a tree"),
        (["audit"], "give either --address of a service or --from a result directory"),
        (["audit", "--from", "/nowhere"], "/nowhere is not a directory"),
        (["policies", "show", "nonsense"], "there is no recipe, policy or scorer 'nonsense'"),
        (["status", "--address", "nonsense"], "address 'nonsense' must be HOST:PORT"),
        (["serve", "--config", "/nowhere.yaml"], "configuration file /nowhere.yaml cannot be read"),
        (["serve", "--set", "colour.red=1"], "there is no configuration section 'colour'"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(
    args: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.run(args) == BAD_INPUT
    assert words in error_of(capsys)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InvalidInput("this is\nwrong"), BAD_INPUT),
        (Unavailable("nobody answers"), FAILED),
        (BrokenInvariant(Invariant.NO_ACKED_LOSS, "a row is gone"), FAILED),
    ],
)
def test_typed_errors_become_a_sentence_and_a_code(
    error: BaseException, code: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("treeroll.results.audit.audit_directory", fail)
    assert app.run(["audit", "--from", "x"]) == code
    assert error_of(capsys) == " ".join(str(error).split())


@pytest.mark.parametrize("args", [["status"], ["drain"], ["delete", "r"], ["audit"], ["inspect", "t"]])
def test_nobody_at_an_address_is_bad_input(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run([*args, "--address", "localhost:1"]) == BAD_INPUT
    assert "nobody answers at localhost:1" in error_of(capsys)


def test_policies_lists_everything(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["policies"]) == 0
    listed = capsys.readouterr().out
    assert all(
        name in listed for name in ("treepo", "flat", "finish_tests", "grpo", "parent_affinity", "math", "arith")
    )


def shown(name: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert app.run(["policies", "show", name]) == 0
    return capsys.readouterr().out


def test_the_list_of_policies_cuts_no_word_in_a_narrow_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert app.run(["policies"]) == 0
    listed = capsys.readouterr().out
    assert max(map(len, listed.splitlines())) <= 80
    assert "…" not in listed


def test_policies_show_has_everything_of_a_name_with_the_recipe_first(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown("treepo", capsys)
    headings = ("recipe treepo", "branch policy treepo", "advantage policy treepo")
    places = [text.index(f"{heading}\n") for heading in headings]
    assert places == sorted(places)
    assert "max_tokens=7168" in text
    assert "scorer arith" in shown("arith", capsys)


def test_policies_show_prints_rule_parameters_and_source_whole_in_a_narrow_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    rows = describe()
    texts = {name: shown(name, capsys) for name in {row.name for row in rows}}
    for row in rows:
        text = texts[row.name]
        words = " ".join(text.split())
        assert max(map(len, text.splitlines())) <= 80
        assert "…" not in text
        assert all(paragraph in words for paragraph in row.rule)
        assert f"Source: {row.paper} Code: {row.code}" in words
        for parameter in row.parameters:
            assert f"{parameter.name} {parameter.default} " in words
            assert parameter.bounds in words


def test_status_and_drain_and_audit_of_a_service(capsys: pytest.CaptureFixture[str]) -> None:
    store = MemoryStore()
    with running_service(store=store) as address:
        assert app.run(["status", "--address", address]) == 0
        assert "simulated" in capsys.readouterr().out
        assert app.run(["status", "--json", "--address", address]) == 0
        assert '"replica_id": "r0"' in capsys.readouterr().out
        assert app.run(["drain", "--address", address]) == 0
        assert capsys.readouterr().out.startswith("draining")
        assert app.run(["undrain", "--address", address]) == 0
        assert "not draining" in capsys.readouterr().out
        assert app.run(["audit", "--address", address]) == 0
        capsys.readouterr()
        lost = Commit(runs={"r": rollout_pb2.Run(run_id="r").SerializeToString()}, tasks={"r": {"0:a": ("t", "")}})
        asyncio.run(store.commit(lost, epoch=1))
        assert app.run(["audit", "--address", address]) == FAILED
        assert "NoAckedLoss" in capsys.readouterr().out


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


GOOD = ['{"id": "a", "prompt": "Compute 1+1.\\n"}', '{"id": "b", "prompt": "Compute 1+2.\\n"}']


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([*GOOD, "", "", "", "", '{"id": '], "tasks.jsonl line 7: not valid JSON"),
        ([*GOOD, '{"id": "c", "answer": "3"}'], "tasks.jsonl line 3: no prompt"),
        ([*GOOD, GOOD[0]], "tasks.jsonl line 3: id 'a' is taken already by line 1"),
        ([*GOOD, '{"id": "c", "prompt": "%s"}' % ("1+" * 600)], "task 'c': the prompt has 1200 tokens"),
        (
            [*GOOD, '{"id": "c", "prompt_ids": [5, 100000]}'],
            "task 'c': the prompt has the token 100000, but",
        ),
        ([], "holds no task"),
    ],
)
def test_bad_task_files_are_refused_before_anything_starts(
    lines: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tasks = write(tmp_path / "tasks.jsonl", *lines)
    assert app.run(["rollout", str(tasks), "--out", str(tmp_path / "out")]) == BAD_INPUT
    assert words in error_of(capsys)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--recipe", "magic"], "there is no recipe 'magic'"),
        (["--leaves", "0"], "'leaves' should be greater than or equal to 1, got 0"),
        (["--temperature", "-1"], "'temperature' should be greater than or equal to 0"),
        (["--set", "run.leafs=3"], "unknown key 'leafs'"),
        (["--set", "run.branch.synch=path"], "branch policy 'treepo' has no parameter 'synch'"),
        (["--set", "generator.slotz=3"], "unknown key 'generator.slotz'"),
        (["--set", "leaves"], "--set 'leaves' is not of the form section.key=value"),
        (["--config", "{tmp}/none.yaml"], "none.yaml cannot be read"),
        (["--model", "{tmp}"], "is no model: it has no config.json"),
        (["--model", "{tmp}/none"], "none is not a directory"),
        (["--scorer", "magic"], "unknown scorer 'magic'"),
        (["--scorer", "python:no_such_module:f"], "no_such_module"),
        (["--resume", "--overwrite"], "--resume and --overwrite contradict each other"),
        (["--limit", "0"], "--limit must be 1 or more, got 0"),
        (["--address", "localhost:1"], "nobody answers at localhost:1"),
        (["--address", "nonsense"], "address 'nonsense' must be HOST:PORT"),
        (["--address", "localhost:1", "--replicas", "2"], "--replicas would configure a service started here"),
    ],
)
def test_bad_settings_are_refused_before_anything_starts(
    args: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    given = ["--scorer", "arith", *(arg.replace("{tmp}", str(tmp_path)) for arg in args)]
    assert app.run(["rollout", str(TASKS_FILE), "--out", str(out), *given]) == BAD_INPUT
    assert words in error_of(capsys)
    assert not out.exists()


@pytest.mark.parametrize("scorer", [None, "arith"])
def test_a_rollout_without_a_scorer_says_what_that_means(
    scorer: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def done(plan: Plan) -> int:
        assert plan.run.scorer == scorer
        return 0

    monkeypatch.setattr("treeroll.cli.job.execute", done)
    given = [] if scorer is None else ["--scorer", scorer]
    assert app.run(["rollout", str(TASKS_FILE), "--out", str(tmp_path / "out"), "--limit", "2", *given]) == 0
    said = capsys.readouterr().err
    assert said == ("" if scorer else "no scorer: rewards and advantages will be null; give --scorer to have them\n")


def test_a_missing_task_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["rollout", str(tmp_path / "none.jsonl"), "--out", str(tmp_path / "out")]) == BAD_INPUT
    assert "none.jsonl cannot be read: No such file or directory" in error_of(capsys)
