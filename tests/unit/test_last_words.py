"""What is told of a process that ended, from its log."""

from pathlib import Path

from treeroll.generator.last_words import TAIL_BYTES, cause_in, tail

VLLM = """\
(EngineCore_DP0 pid=71) INFO 11-30 02:00:00 [core.py:93] Initializing a V1 LLM engine
(EngineCore_DP0 pid=71) ERROR 11-30 02:00:01 [core.py:866] Traceback (most recent call last):
(EngineCore_DP0 pid=71) ERROR 11-30 02:00:01 [core.py:866]   File "weight_utils.py", line 1, in load
(EngineCore_DP0 pid=71) ERROR 11-30 02:00:01 [core.py:866] safetensors_rust.SafetensorError: incomplete metadata
(EngineCore_DP0 pid=71) Traceback (most recent call last):
(EngineCore_DP0 pid=71) safetensors_rust.SafetensorError: incomplete metadata
Traceback (most recent call last):
RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}
treeroll.errors.InvalidInput: vLLM did not start on /models/x
"""


def test_the_cause_is_the_first_error_that_says_something_new(tmp_path: Path) -> None:
    log = tmp_path / "r0-1.log"
    log.write_text(VLLM)
    known = "vLLM did not start on /models/x"
    assert cause_in(tail(log), known) == "safetensors_rust.SafetensorError: incomplete metadata"
    assert cause_in(tail(log), f"{known}: incomplete metadata") == ""


def test_without_an_error_the_last_lines_are_told(tmp_path: Path) -> None:
    log = tmp_path / "r0-1.log"
    log.write_text("one\n\ntwo\nthree\nKilled " + "x" * 1000 + "\n")
    told = cause_in(tail(log), "its process died")
    assert told.startswith("two | three | Killed x")
    assert len(told) < 400


def test_of_a_long_log_only_the_end_is_read_and_of_none_nothing(tmp_path: Path) -> None:
    log = tmp_path / "r0-1.log"
    log.write_bytes(b"\xff" + b"early\n" * TAIL_BYTES + b"late\n")
    assert tail(log)[-1] == "late"
    assert len(tail(log)) < TAIL_BYTES
    assert tail(tmp_path / "none") == []
    assert cause_in([], "") == ""
