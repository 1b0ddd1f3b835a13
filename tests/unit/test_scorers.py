"""Each scorer, right, wrong and without what it needs; the guard; the registry; inline scoring."""

import math
import sys

import pytest

from treeroll.boxed import last_boxed
from treeroll.config import ScorersConfig
from treeroll.errors import InvalidInput
from treeroll.scorers import guard, registry, wire
from treeroll.scorers.base import ErrorKind, Job, MissingInput, ScoreCounts, ScoreItem, ScoreRequest, ScoreResult
from treeroll.scorers.inline import InlineScorers
from treeroll.scorers.rules import ScorerRules

FUNCTIONS = "tests.support.scorer_functions"
ACT = f"python:{FUNCTIONS}:act"


def score(scorer: str, completion: str, answer: str | None = None, **extra: object) -> float:
    return registry.build(scorer).score(ScoreItem("prompt", completion, answer, extra))


@pytest.mark.parametrize(
    ("completion", "answer", "value"),
    [
        ("so the answer is \\boxed{72}.", "72", 1.0),
        ("so the answer is \\boxed{71}.", "72", 0.0),
        ("\\boxed{0.5}", "\\frac{1}{2}", 1.0),
        ("therefore $1+x^2$", "x^2+1", 1.0),
        ("therefore $1+x^3$", "x^2+1", 0.0),
        ("I do not know", "72", 0.0),
        ("", "72", 0.0),
        ("the answer is 1/2", "$\\frac12$", 1.0),
    ],
)
def test_math(completion: str, answer: str, value: float) -> None:
    assert score("math", completion, answer) == value


def test_math_refuses_an_answer_it_cannot_read() -> None:
    with pytest.raises(ValueError, match="finds nothing"):
        score("math", "\\boxed{1}", "$$")


@pytest.mark.parametrize(
    ("completion", "answer", "value"),
    [
        (" Paris\n", "Paris", 1.0),
        ("paris", "Paris", 0.0),
        ("I think \\boxed{ Paris }.", "Paris", 1.0),
        ("Paris \\boxed{Rome}", "Paris", 0.0),
        ("Paris \\boxed{Rome", "Paris", 0.0),
        ("<think>Rome?</think>\nParis", "Paris", 1.0),
        ("<think>\\boxed{Paris}</think> I do not know", "Paris", 0.0),
        ("cafe\u0301", "caf\u00e9", 1.0),
        ("caf\u00e9", " cafe\u0301", 1.0),
        ("cafe", "caf\u00e9", 0.0),
        ("\u2160", "I", 0.0),
    ],
)
def test_exact(completion: str, answer: str, value: float) -> None:
    assert score("exact", completion, answer) == value


@pytest.mark.parametrize(
    ("completion", "value"),
    [
        ("Step 1: 3*4=12. The answer is \\boxed{12}.", 1.0),
        ("\\boxed{11} no, \\boxed{12}", 1.0),
        ("\\boxed{12} no, \\boxed{11}", 0.0),
        ("\\boxed{012}", 0.0),
        ("\\boxed{+12}", 0.0),
        ("\\boxed{ 12}", 0.0),
        ("\\boxed{12.0}", 0.0),
        ("\\boxed{12", 0.0),
        ("<think>\\boxed{12}</think>I do not know", 0.0),
        ("12", 0.0),
        ("", 0.0),
        ("\\boxed{" + "9" * 10_000 + "}", 0.0),  # int() would refuse it
    ],
)
def test_arith(completion: str, value: float) -> None:
    assert score("arith", completion, " 12 ") == value


def test_arith_knows_negative_numbers_and_zero() -> None:
    assert score("arith", "\\boxed{-3}", "-3") == 1.0
    assert score("arith", "\\boxed{0}", "0") == 1.0


@pytest.mark.parametrize("answer", ["twelve", "12.0", "-0", "012", "1_000", "\N{ARABIC-INDIC DIGIT ONE}"])
def test_arith_refuses_other_answers(answer: str) -> None:
    with pytest.raises(ValueError, match="not an integer"):
        score("arith", "\\boxed{12}", answer)


@pytest.mark.parametrize("scorer", ["math", "exact", "arith"])
@pytest.mark.parametrize("answer", [None, "", "  "])
def test_a_missing_answer_is_an_error_not_a_zero(scorer: str, answer: str | None) -> None:
    with pytest.raises(MissingInput):
        score(scorer, "\\boxed{1}", answer)


def test_regex_of_the_run_comes_before_the_tasks() -> None:
    assert score("regex:a:b+", "xa:bbx") == 1.0
    assert score("regex:^b", "ab") == 0.0
    assert score("regex", "ab", pattern="b$") == 1.0
    assert score("regex:c", "ab", pattern="b$") == 0.0


@pytest.mark.parametrize("extra", [{}, {"pattern": ""}, {"pattern": 3}])
def test_regex_without_a_pattern(extra: dict[str, object]) -> None:
    with pytest.raises(MissingInput):
        score("regex", "ab", None, **extra)


def test_a_task_with_a_broken_pattern_is_an_error() -> None:
    result = guard.run(registry.build("regex"), ScoreItem("", "a", None, {"pattern": "("}))
    assert (result.value, result.kind) == (None, ErrorKind.RAISED)


def test_a_function_by_import_path() -> None:
    assert score(f"python:{FUNCTIONS}:length", "four") == 4.0


@pytest.mark.parametrize(
    ("text", "content"),
    [
        ("\\boxed{1} \\boxed{2}", "2"),
        ("\\boxed{\\frac{1}{2}}", "\\frac{1}{2}"),
        ("\\boxed{\\boxed{3}}", "3"),
        ("\\boxed{}", ""),
        ("\\boxed{1} \\boxed{2", None),
        ("boxed{1}", None),
        ("\\boxed{" * 100_000, None),
    ],
)
def test_last_boxed(text: str, content: str | None) -> None:
    assert last_boxed(text) == content


@pytest.mark.parametrize(
    ("act", "value"),
    [("one", 1.0), ("zero", 0.0), ("true", 1.0), ("dict", 0.5), ("tuple", 0.5)],
)
def test_guard_passes_numbers(act: str, value: float) -> None:
    result = guard.run(registry.build(ACT), ScoreItem("", act))
    assert result == ScoreResult(value)
    assert type(result.value) is float


@pytest.mark.parametrize(
    ("act", "kind", "error"),
    [
        ("raise", ErrorKind.RAISED, "RuntimeError: no luck xxx"),
        ("unprintable", ErrorKind.RAISED, "Unprintable: (its message cannot be shown)"),
        ("system_exit", ErrorKind.RAISED, "SystemExit: 3"),
        ("unheard of", ErrorKind.RAISED, "KeyError: 'unheard of'"),
        ("nan", ErrorKind.NOT_FINITE, "not finite: nan"),
        ("inf", ErrorKind.NOT_FINITE, "not finite: inf"),
        ("huge", ErrorKind.NOT_FINITE, "not finite: an integer too large for a float"),
        ("empty dict", ErrorKind.NOT_A_NUMBER, "not a number: the scorer returned a dict"),
        ("empty tuple", ErrorKind.NOT_A_NUMBER, "not a number: the scorer returned a tuple"),
        ("tuple of text", ErrorKind.NOT_A_NUMBER, "not a number: the scorer returned a str"),
        ("dict of nan", ErrorKind.NOT_FINITE, "not finite: nan"),
        ("text", ErrorKind.NOT_A_NUMBER, "not a number: the scorer returned a str"),
        ("list", ErrorKind.NOT_A_NUMBER, "not a number: the scorer returned a list"),
    ],
)
def test_guard_turns_the_rest_into_errors(act: str, kind: ErrorKind, error: str) -> None:
    result = guard.run(registry.build(ACT), ScoreItem("", act))
    assert (result.value, result.kind) == (None, kind)
    assert result.error.startswith(error)
    assert len(result.error) <= guard.MAX_ERROR_CHARS
    assert result.error.isprintable()


@pytest.mark.parametrize("act", ["none", "dict of none", "tuple of none"])
def test_a_scorer_may_abstain(act: str) -> None:
    result = guard.run(registry.build(ACT), ScoreItem("", act))
    assert result == ScoreResult(None)
    assert result.abstained
    assert wire.unpack_result(wire.pack_result(result)) == result


def test_guard_takes_numbers_of_other_libraries() -> None:
    numpy = pytest.importorskip("numpy")
    assert guard.to_result(numpy.float32(0.5)) == ScoreResult(0.5)
    assert guard.to_result(numpy.bool_(True)) == ScoreResult(1.0)
    assert guard.to_result(numpy.array([1.0, 2.0])).kind is ErrorKind.NOT_A_NUMBER


def test_guard_lets_the_operator_interrupt() -> None:
    class Interrupted:
        name = "interrupted"
        version = 1

        def score(self, item: ScoreItem) -> float:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        guard.run(Interrupted(), ScoreItem("", ""))


@pytest.mark.parametrize(
    ("scorer", "name", "version"),
    [
        ("math", "math", 1),
        ("exact", "exact", 2),
        ("arith", "arith", 1),
        ("regex", "regex", 1),
        ("regex:^a", "regex", 1),
        (f"python:{FUNCTIONS}:length", f"python:{FUNCTIONS}:length", 3),
        ("http://localhost:8000/score", "http://localhost:8000/score", 1),
    ],
)
def test_a_scorer_has_the_identity_of_the_rewards(scorer: str, name: str, version: int) -> None:
    registry.check(scorer)
    built = registry.build(scorer)
    assert (built.name, built.version) == (name, version)


def check_and_build(scorer: str) -> None:
    """As a service does, in itself and in a worker."""
    registry.check(scorer)
    registry.build(scorer)


@pytest.mark.parametrize(
    ("scorer", "message"),
    [
        (
            "maths",
            r"unknown scorer 'maths' \(did you mean 'math'\?\); choose one of math, exact, regex\[",
        ),
        ("", "unknown scorer ''"),
        ("math:3", "takes no argument"),
        ("regex:(", "not a regular expression"),
        ("http", "must be of the form http://HOST"),
        ("https:/score", "'https:/score' must be of the form http://HOST"),
        ("python", "must be of the form"),
        ("python:os", "must be of the form"),
        ("python:no.such.module:score", "module no.such.module cannot be imported: ModuleNotFoundError"),
        ("python:.relative:score", "cannot be imported"),
        (f"python:{FUNCTIONS}:nothing", "has no 'nothing'"),
        (f"python:{FUNCTIONS}:not_callable", "is a int, not a function"),
        (f"python:{FUNCTIONS}:too_few", "must accept"),
        (f"python:{FUNCTIONS}:asynchronous", "asynchronous"),
    ],
)
def test_check_refuses_in_one_sentence(scorer: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message) as caught:
        check_and_build(scorer)
    assert "\n" not in str(caught.value)


def test_check_imports_nothing_foreign() -> None:
    sys.modules.pop("this", None)
    registry.check("python:this:d")
    assert "this" not in sys.modules


@pytest.mark.parametrize(
    ("allowed", "scorer", "fine"),
    [
        ((), "math", True),
        ((), "python:this:d", False),
        (("tests",), "python:tests:score", True),
        (("tests",), "python:tests.support.scorer_functions:length", True),
        (("tests",), "python:testsuite:score", False),
        (("tests.support",), "python:tests:score", False),
        (("tests",), "python:tests:subprocess.call", False),
        (("tests:subprocess.call",), "python:tests:subprocess.call", True),
        (("tests:score",), "python:tests:score", True),
        (("tests:score",), "python:tests:scores", False),
        (("tests:score",), "python:tests.below:score", False),
        (("tests",), "verifiers:owner/tests@main", True),
        (("tests",), "verifiers:owner/others@main", False),
    ],
)
def test_an_operator_says_which_modules_scorers_may_be(allowed: tuple[str, ...], scorer: str, fine: bool) -> None:
    rules = ScorerRules(modules=allowed)
    if not fine:
        with pytest.raises(InvalidInput, match=r"does not allow the module; allowed are: .*scorers\.python_modules"):
            registry.check(scorer, rules)
    elif not scorer.startswith("verifiers"):  # which must be installed
        registry.check(scorer, rules)


@pytest.mark.parametrize(
    ("url", "fine"),
    [
        ("http://judge.example.org:8000/score", True),
        ("http://JUDGE.example.org:8000/other?x=1", True),
        ("http://user@judge.example.org:8000/score", True),
        ("http://judge.example.org/score", False),
        ("https://judge.example.org:8000/score", False),
        ("http://judge.example.org:8000@169.254.169.254/latest", False),
        ("http://judge.example.org.evil.org:8000/", False),
        ("http://127.0.0.1:6379/", False),
        ("https://[::1]/score", True),
        ("http://[", False),
        ("http://judge.example.org:port/", False),
    ],
)
def test_an_operator_says_which_servers_scorers_may_be(url: str, fine: bool) -> None:
    config = ScorersConfig(http_origins=("http://judge.example.org:8000/", "https://[::1]"))
    rules = ScorerRules.of(config, strangers=True)
    if fine:
        registry.check(url, rules)
    else:
        with pytest.raises(InvalidInput, match=r"does not allow the server|must be of the form"):
            registry.check(url, rules)


def test_strangers_may_nothing_that_is_not_named() -> None:
    rules = ScorerRules.of(ScorersConfig(), strangers=True)
    for scorer in ("python:this:d", "http://127.0.0.1/", "verifiers:sums"):
        with pytest.raises(InvalidInput, match="allowed are: none"):
            registry.check(scorer, rules)
    with pytest.raises(InvalidInput, match="scorer_timeout_s is 61, and this service allows 60 at most"):
        rules.check_timeout(61)
    rules.check_timeout(60)
    assert ScorerRules.of(ScorersConfig(), strangers=False) == ScorerRules()


def test_summaries_are_one_line_each() -> None:
    rows = registry.summaries()
    assert set(rows) == {
        "math",
        "exact",
        "regex[:PATTERN]",
        "arith",
        "subset",
        "python:MODULE:FUNCTION",
        "http[s]://HOST/PATH",
        "reasoning_gym",
        "verifiers:TASKSET",
        "client",
    }
    assert all(text and "\n" not in text for text in rows.values())


def test_wire_carries_any_text() -> None:
    item = ScoreItem("p\ud800", "line\nline \N{SNOWMAN}", None, {"a": [1, {"b": math.inf}]})
    assert wire.unpack_job(wire.pack_job(Job("regex:\n", item, 1.0))) == ("regex:\n", item)
    for result in (ScoreResult(0.1), ScoreResult.failed(ErrorKind.RAISED, "é")):
        assert wire.unpack_result(wire.pack_result(result)) == result


def test_counts() -> None:
    counts = ScoreCounts()
    counts.add(ScoreResult(0.0))
    counts.add(ScoreResult.failed(ErrorKind.TIMEOUT, "timeout after 1 s"))
    counts.add(ScoreResult(None))
    assert (counts.scored, counts.abstained) == (1, 1)
    assert counts.errors == {"timeout": 1}


async def test_inline_scorers_keep_the_contract() -> None:
    service = InlineScorers()
    await service.start()
    acts = ["one", "raise", "zero"]
    requests = [ScoreRequest(n, ACT, ScoreItem("", act)) for n, act in enumerate(acts)]
    requests.append(ScoreRequest("x", "nonesuch", ScoreItem("", "")))
    results = await service.score(requests)
    await service.stop()
    assert [result.value for result in results] == [1.0, None, 0.0, None]
    assert service.counts.scored == 2
    assert service.counts.errors == {"raised": 1, "unloadable": 1}


@pytest.mark.parametrize("scorer", ["reasoning_gym", "verifiers:sums"])
def test_a_scorer_whose_library_is_absent_is_refused_with_what_to_install(
    scorer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = f"treeroll.scorers.{scorer.partition(':')[0]}"
    monkeypatch.setattr(f"{module}.find_spec", lambda name: None)
    with pytest.raises(InvalidInput, match=r"where the service runs: pip install 'treeroll\["):
        registry.check(scorer)
