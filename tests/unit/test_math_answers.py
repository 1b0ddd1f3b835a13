r"""Scorer math: answers are found where they are given, and nowhere else."""

# ruff: noqa: RUF001 - signs that look like others are the point

import pytest

from treeroll.errors import InvalidInput
from treeroll.scorers import registry
from treeroll.scorers.answers import answer_in
from treeroll.scorers.base import ScoreItem
from treeroll.scorers.judgeable import why_not_judgeable

MATH, BOXED = registry.build("math"), registry.build("math:boxed")


def score(completion: str, answer: str, prompt: str = "", scorer: registry.Scorer = MATH) -> float:
    return scorer.score(ScoreItem(prompt, completion, answer))


@pytest.mark.parametrize(
    "completion",
    [
        "You asked for 16 + 9 and I do not know.",
        "16 + 9 added with underscores denotes an integer.",
        "16 + 9",
        "16+9 =",
        "(16 + 9)",
        "25 = 16 + 9",
        "You asked for 16 + 9 = 25?",
        "16 + 9 = 25 or 16 + 9 = 26",
        "**16 + 9**",
        "5*5",
        "5^2",
        "50 / 2 is what I get",
        "sqrt(625)",
        "I do not know. There are 25 students.",
        "I cannot answer: 25 and 16 are too hard for me.",
        "To answer 16 + 9 one must add.",
        "To answer: 16 + 9 must be added.",
        "I will not answer. 25",
        "The answer is unknown; I only see 25.",
        "The answer is not 25.",
        "The answer isn't 25.",
        "The answer is not clear. 25?",
        "The answer can't be 25",
        "The answer could be 25",
        "The answer could not be 25",
        "The answer may well be 25",
        "The answer cannot be equal to 25",
        "The answer isn’t 25.",
        "The answer is > 25",
        "The answer is < 25",
        "The answer is 25 pi",
        "The answer is 25 sqrt(2)",
        "The answer is 25 log 2",
        "The answer is 25 x",
        "The answer is 25 x + 1",
        "The answer is .25",
        "\\boxed{24 1}",
        "\\boxed{12 13}",
        "The answer is 24 1",
        "I do not know what the answer is. 25 is a guess.",
        "You asked for $16 + 9$ and I do not know.",
        "You asked for \\(16+9\\), which I do not know.",
        "What is $$16 + 9 = ?$$ I wonder.",
        "<think>25. The answer is 25.</think>I do not know.",
        "<think>so it is \\boxed{25} and the answer is 25, but wait",
        "<think>24</think><think>\\boxed{25}",
        "24, 25, 26",
        "It costs $25 and then $30 more.",
        "\\boxed{25",
        "\\boxed{}",
        "\\boxed{24}, \\boxed{25}",
        "\\boxed{24 or 25}",
        "The answer is 24 or 25.",
        "The answer is either 24 or 25.",
        "\\boxed{25} no, \\boxed{24}",
        "",
    ],
)
def test_no_answer_is_found_where_none_was_given(completion: str) -> None:
    assert score(completion, "25", "What is 16 + 9?") == 0.0


@pytest.mark.parametrize(
    "completion",
    [
        "\\boxed{25}",
        "\\boxed{16 + 9}",
        "\\boxed{\\boxed{25}}",
        "\\boxed{24} no, \\boxed{25}",
        "\\boxed{25}. I am sure: \\boxed{25}",
        "$\\boxed{25}$",
        "x = \\boxed{x = 25}",
        "\\boxed{\\$25}",
        "\\boxed{25 \\text{ apples}}",
        "The answer is 25.",
        "The answer is 16 + 9.",
        "The answer is ≈ 25",
        "The answer to this, not counting the first, is 25.",
        "The answer must be 25.",
        "The answer is 25 C.",
        "The answer is 25 J",
        "The answer is 25 (apples).",
        "**Answer**\n> 25",
        "Answer => 25",
        "\\boxed {25}",
        "\\boxed 25.",
        "\\fbox{25}",
        "\\boxed{25.}",
        "\\boxed{25.\\,}",
        "\\boxed{**25**}",
        "The answer is 16 + 9 = 25.",
        "The answer is: **25**",
        "the answer to your question (16 + 9) is 25, I think.",
        "The answer is therefore 25 apples each.",
        "The answer is 25 a day",
        "The answer is 5 I guess. No, the answer is 25 I am sure",
        "The answer is 25. I hope the answer is correct.",
        "The answer is $25.",
        "The answer is $25 per ticket and $30 per seat.",
        "The answer is $x = 25$ because $5^2 = 25$.",
        "Final Answer: The final answer is $25$. I hope it is correct.",
        "**Final Answer**\n\n25",
        "### Answer\n25 apples",
        "Answer: 25\nAnd now something else: 31.",
        "Answer: \\frac{50}{2}",
        "16 + 9 = 25\n#### 25",
        "<think>24?</think><answer>25</answer>",
        "<answer>The answer is 25</answer>",
        "<answer>\n$25$\n</answer>",
        "<think>24?</think>The answer is 25.",
        "so it is $25$.",
        "so it is $5 \\cdot 5$.",
        "so it is \\[ 25 \\]",
        "so it is \\(25\\), which",
        "$16 + 9 = 25$",
        "25",
        " 25.\n",
        "**25**",
        "16 + 9 = 25",
        "= 25.",
        "x = 25",
        "$25$",
    ],
)
def test_an_answer_is_found_however_it_is_given(completion: str) -> None:
    assert score(completion, "25", "What is 16 + 9?") == 1.0


@pytest.mark.parametrize(
    ("completion", "answer"),
    [
        ("\\boxed{1} and \\boxed{2}", "1, 2"),
        ("The answers are 1 and 2.", "\\{1, 2\\}"),
        ("The answers are $1$ and $2$.", "1, 2"),
        ("The answer is (3, 4).", "(3,4)"),
        ("The answer is \\frac{\\sqrt{3}}{2}, since", "\\frac{\\sqrt3}{2}"),
        ("The answer is 1/2", "0.5"),
        ("The answer is 1,234,567.", "1234567"),
        ("The answer is -3.", "-3"),
        ("The answer is 3x+2y for all x", "2y+3x"),
        ("The answer is (C) because", "C"),
        ("The answer is C. Not 25.", "\\text{C}"),
        ("\\boxed{\\text{Paris}}", "Paris"),
        ("The answer is 12 cm.", "12 \\text{ cm}"),
        ("The answer is 25%.", "25\\%"),
        ("-1/2", "-0.5"),
    ],
)
def test_answers_of_all_kinds_are_read(completion: str, answer: str) -> None:
    assert score(completion, answer) == 1.0


# Numbers and signs in notations that math-verify does not know: each is one value.
NOTATIONS = [
    ("1500", ["1.5e3", "1.5E+3", "1.5 x 10^3", "1.5 × 10^3", "1.5*10**3", "1.5 \\times 10^{3}", "15e2", "1.5e3."]),
    ("0.00003", ["3e-5", "3E-05", "3 × 10⁻⁵", "3\\cdot10^{-5}", ".00003"]),
    ("-3", ["−3", "–3", "- 3", "－３", "minus 3", "negative 3", "-3.0"]),
    ("25", ["٢٥", "२५", "２５", "25€", "€25", "£25", "¥25", "5²", "25°", "5**2", "5^{2}", "25.", "2.5e1"]),
    ("0.5", [".5", "½", "1/2", "1⁄2", "50%", "\\frac12"]),
    ("1.5", ["1½", "1 1/2", "1 \\frac{1}{2}", "1\\frac12", "3/2", "1.50"]),
    ("1234567", ["1,234,567", "1 234 567", "1\\,234\\,567", "1{,}234{,}567", "1\u202f234\u202f567", "1_234_567"]),
    ("2\\sqrt{3}", ["2√3", "2 sqrt(3)", "2 sqrt 3", "2\\sqrt3"]),
    ("\\frac{\\pi}{2}", ["π/2", "½π", "pi/2", "\\pi/2"]),
    ("x^2", ["x²", "x**2", "x^{2}"]),
    ("\\sin(x)", ["sin(x)", "sin x", "\\sin x"]),
    ("\\infty", ["∞", "infinity", "+∞"]),
    ("6.6e-34", ["66e-35", "6.60 \\times 10^{-34}", "0.66e-33"]),
    ("true", ["True", "TRUE", "\\text{true}"]),
]


@pytest.mark.parametrize(("plain", "others"), NOTATIONS, ids=lambda part: part if isinstance(part, str) else "")
def test_every_notation_of_a_value_is_that_value_in_answers_and_golds(plain: str, others: list[str]) -> None:
    wrong = [other for other in others if score(f"\\boxed{{{other}}}", plain) != 1.0]
    wrong += [other for other in others if score(f"\\boxed{{{plain}}}", other) != 1.0]
    stated = [other for other in others if score(f"The answer is {other}", plain) != 1.0]
    assert (wrong, stated) == ([], [])


def test_no_notation_is_another_value() -> None:
    for number, (plain, _) in enumerate(NOTATIONS):
        for other, (_, written) in enumerate(NOTATIONS):
            assert number == other or [one for one in written if score(f"\\boxed{{{one}}}", plain)] == []


@pytest.mark.parametrize(
    "latex",
    [
        r"\log_2 3", r"\log_{10} 300", r"x^2 3", r"x^2 300", r"\begin{pmatrix} 1 & 2 \\ 300 & 4 \end{pmatrix}", r"A^*",
        "5!!", r"2\times 3", r"\cos 36^\circ", r"\sin^2 x", "3-5", r"\sqrt[3]{2}", r"\frac{9 \pi}{2}", "5 min",
        r"(-\infty, 3)", r"x = 3 \text{ or } x = 5", r"\lfloor x \rfloor", r"0.\overline{6}", "2^10",
        r"x^3 \times 10^2",
    ],
)  # fmt: skip
def test_latex_is_left_as_it_is(latex: str) -> None:
    assert MATH._read_gold(latex)[0] == MATH._read(latex)[0]  # type: ignore[attr-defined]
    assert score(f"\\boxed{{{latex}}}", latex) == 1.0


@pytest.mark.parametrize(
    ("completion", "answer"),
    [
        ("4e-7", "1e-7"), ("0.0000004", "0.0000001"), ("\\frac{1}{20000000}", "0.00000006"), ("6.1e-34", "6.6e-34"),
        ("1 234", "235"), ("11001_3", "11001_2"), ("11001_{16}", "11001_{2}"), ("false", "true"), ("no", "on"),
    ],
)  # fmt: skip
def test_what_looks_alike_is_not_equal(completion: str, answer: str) -> None:
    assert score(f"\\boxed{{{completion}}}", answer) == 0.0
    assert score(f"\\boxed{{{answer}}}", answer) == 1.0


@pytest.mark.parametrize(
    ("question", "completion"),
    [
        ("Q: 16 + 9?\nAnswer:", " 25\n\nQ: 3 + 4?"),
        ("Q: 5 * 5? Answer: 25\nQ: 16 + 9? Answer:", " 25"),
        ("Q: 16 + 9? The answer is", " 25. I like it."),
        ("Reason, then answer in <answer>", "25</answer>"),
        ("So it is \\boxed{", "25}"),
        ("... ####", " 25"),
    ],
)
def test_a_prompt_may_open_what_the_completion_goes_on_with(question: str, completion: str) -> None:
    assert score(completion, "25", question) == 1.0


@pytest.mark.parametrize(
    ("question", "completion"),
    [
        ("Q: 16 + 9?\nAnswer:", " 16 + 9 is what you ask for."),
        ("What is 16 + 9? The answer is", " 16+9, I do not know."),
        ("What is 16 + 9? Give the answer\n", "16 + 9 must be added."),
        ("What is 16 + 9? Think, then answer", "16 + 9 must be added."),
    ],
)
def test_a_question_that_asks_for_an_answer_makes_none_of_its_repetition(question: str, completion: str) -> None:
    assert score(completion, "25", question) == 0.0


def test_a_number_of_the_question_is_quoted_only_as_a_whole() -> None:
    question = "Which of 125 and 3.25 is larger than 90?"
    assert answer_in("$125$", question) is None
    assert answer_in("$25$", question) == "25"
    assert answer_in("$3$", question) == "3"


@pytest.mark.parametrize("completion", ["\\boxed{25}", "<think>x</think> so \\boxed{5 \\cdot 5}."])
def test_math_boxed_takes_boxes(completion: str) -> None:
    assert score(completion, "25", scorer=BOXED) == 1.0


@pytest.mark.parametrize(
    "completion",
    ["25", "<think>\\boxed{25}</think>", "$25$", "The answer is 25", "<answer>25</answer>", "\\boxed{25", "#### 25"],
)
def test_math_boxed_takes_nothing_else(completion: str) -> None:
    assert score(completion, "25", scorer=BOXED) == 0.0


def test_math_boxed_goes_on_with_a_box_that_the_prompt_opens() -> None:
    assert score("25}. Done.", "25", "So it is \\boxed{", BOXED) == 1.0
    assert score("25", "25", "So it is \\boxed{", BOXED) == 0.0


@pytest.mark.parametrize("scorer", ["math", "math:boxed", "exact", "arith"])
def test_thoughts_that_the_prompt_begins_hold_no_answer_until_they_end(scorer: str) -> None:
    def of(completion: str) -> float:
        return score(completion, "25", "What is 16 + 9?<|im_end|>\nassistant\n<think>\n", registry.build(scorer))

    assert of("maybe \\boxed{25}") == 0.0
    assert of("maybe \\boxed{24}</think>\\boxed{25}") == 1.0


def test_math_has_no_other_form() -> None:
    assert registry.build("math:boxed").name == "math:boxed"
    with pytest.raises(InvalidInput, match="scorer 'math' takes no argument but 'boxed', got 'box'"):
        registry.check("math:box")


@pytest.mark.parametrize(
    "gold",
    [
        "18.90",
        "$18.90$",
        "$18.90",
        "\\$18.90",
        "\\$18.9",
        "$\\$18.90$",
        "\\(18.90\\)",
        "\\boxed{18.90}",
        "\\boxed{\\$18.90}",
        "It costs 2 times \\$9.45, or $18.90$.",
        "Natalia sold <<48/2=24>>24 clips.\n#### 18.90",
        "18.90 dollars \\boxed{18.90}",
        "so it costs $\\boxed 18.90$.",
        "At $x = 5$ it costs \\fbox{18.90}.",
        "At $x = 5$ it costs $\\boxed {18.90}$.",
    ],
)
def test_a_gold_is_read_however_it_is_written(gold: str) -> None:
    assert score("\\boxed{18.9}", gold) == 1.0
    assert score("\\boxed{18.8}", gold) == 0.0


@pytest.mark.parametrize("gold", ["$$", "\\boxed{}", "####", "(" * 30 + "5" + ")" * 30, "1 " * 600, "9^{9^{9}}"])
def test_a_gold_that_cannot_be_read_is_an_error_before_any_completion(gold: str) -> None:
    with pytest.raises(ValueError, match=r"finds nothing|cannot be judged"):
        MATH.check(ScoreItem("", "", gold))
    with pytest.raises(ValueError, match=r"finds nothing|cannot be judged"):
        score("\\boxed{5}", gold)


@pytest.mark.parametrize(
    "answer",
    [
        "(" * 50 + "25" + ")" * 50,
        "{" * 15 + "25" + "}" * 15,
        "^".join("x" * 20),
        "x^{" * 20 + "x" + "}" * 20,
        "9^{9^{9}}",
        "9**9**9",
        "10^{1000000000}",
        "1 \\times 10^{999999999}",
        "1e999999999",
        "3 \\cdot 10^{999,999,999}",
        "10^{999\\,999\\,999}",
        "\\frac{1}{10^{999999999}}",
        "\\mathrm{10}^{\\text{999999999}}",
        "(1+1)^{999999999}",
        "0.1^{-999999999}",
        "2^(2^(2^(2^9)))",
        "1000000!",
        "(10!)!",
        "2^{10!}",
        "1 " * 16_000,
        "1+" * 1000 + "1",
    ],
    ids=lambda answer: answer[:20],
)
def test_what_would_take_for_ever_is_refused_at_once(answer: str) -> None:
    with pytest.raises(ValueError, match="the completion's answer cannot be judged: it"):
        score(f"\\boxed{{{answer}}}", "25")


@pytest.mark.parametrize(
    "answer",
    [
        "\\left(\\frac{\\sqrt{3}}{2}\\right)^{\\frac{n(n+1)}{2}}",
        "2^{2^{10}}",
        "10^{100}",
        "e^{x^2}",
        "x^{2^{n}}",
        "100!",
        "\\binom{2n}{n}",
        "\\begin{pmatrix} 1 & 2 \\\\ 3 & 4 \\end{pmatrix}",
        ",".join(map(str, range(100))),
        "3!!",
    ],
)
def test_ordinary_answers_are_judged(answer: str) -> None:
    assert why_not_judgeable(answer) is None


@pytest.mark.parametrize(
    "text",
    [
        "\\(" * 50_000,
        "answer " * 20_000,
        "$a$ " * 20_000,
        "\\boxed{" * 50_000,
        "$" * 50_001,
        "answer is $a " * 20_000,
        "x" * 200_000,
    ],
    ids=lambda text: text[:8],
)
@pytest.mark.timeout(120)  # of any of these with a search that goes back: minutes
def test_long_hostile_texts_are_searched_in_one_pass(text: str) -> None:
    assert answer_in(text, "q") in (None, "a", "$a")
