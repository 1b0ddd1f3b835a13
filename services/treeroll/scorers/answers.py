r"""Where in a completion its answer stands. Nothing is computed here, and nothing is guessed.

In this order, each the last of its form behind the model's thoughts (`</think>`):

1. `\boxed{...}`; boxes joined by commas, "and" or "or" are one answer of several parts;
2. what is stated: behind "answer is", "answer:" (or a heading "Answer"), "####", or inside `<answer>`;
3. a formula between dollars or `\(...\)`, `\[...\]` that the question does not hold, for then it is quoted;
4. a completion that is a number and nothing else, or an equation that ends in one.

A number or an expression in running text is none of these: it may be copied from the question, or a step on the way.
"""

import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from treeroll.boxed import OPENING

_THOUGHTS, _THOUGHTS_END = "<think>", "</think>"
_OTHER_BOX = re.compile(r"\\(?:boxed|fbox)(?:\s*\{|\s+([^\s{}$\\]+?)(?=[.,;]?(?:[\s$]|\Z)))")
_JOINT = re.compile(r"[\s$]*(?:,|;|,?\s*\band\b|,?\s*\bor\b)[\s$]*")
_OPENER = re.compile(r"(?<!\\)\$\$?|\\[(\[]")
_CLOSER = {
    "$": re.compile(r"(?<!\\)\$|\n"),
    "$$": re.compile(r"(?<!\\)\$\$"),
    r"\(": re.compile(r"\\\)"),
    r"\[": re.compile(r"\\\]"),
}
_MONEY = re.compile(r"\s*\d[\d,.]*\s+[A-Za-z]{2,}")  # "5 and" between the dollars of "$5 and $10"
_MENTION = re.compile(r"\banswers?\b|(?P<tag><answer>)|(?P<sign>####)", re.IGNORECASE)
_MOST_MENTIONS = 100
_IS = re.compile(
    r"(?:(?![.?!]\s)[^\n:=\uff1a]){0,60}?(?:\b(?:is|are|be|equals)\b|[:=\uff1a]|[*_#]*[ \t]*\n)", re.IGNORECASE
)
_VERB = re.compile(
    r"\b(?:to|not|cannot|can't|can|could|couldn't|will|won't|would|should|must|please|i'll|let's)\s+\Z", re.IGNORECASE
)
_ABOUT = re.compile(r"(?:not|correct|right|wrong|incorrect|clear|obvious|helpful|below|above|as\s+follows)\b", re.I)
_DENIES = re.compile(
    r"(?:n['\u2019]t|\b(?:not|never|cannot|no\s+longer|could|might|may))\s+(?:\w+\s+)?(?:is|are|be|equals)\Z",
    re.IGNORECASE,
)
_FILLER = re.compile(
    r"(?:[\s*_`:=\uff1a\"“'#≈~]|(?<=[\n=-])>|(?:approximately|about|roughly|around|exactly|therefore|thus|hence|then|so|"
    r"simply|just|clearly|indeed|equal\s+to|given\s+by|the\s+number|the\s+value)\b)*",
    re.IGNORECASE,
)
_TOKEN = re.compile(
    r"(?P<list>,?\s*\b(?:and|or)\s+(?=[-\d\\($]))"
    r"|\\(?:text|mathrm|mathbf|textbf|operatorname)\s*\{[^{}]*\}"
    r"|\\[A-Za-z]+|\\[^A-Za-z]"
    r"|(?:sqrt|sin|cos|tan|log|ln|exp|pi)(?![A-Za-z])"
    r"|(?P<number>\d+(?:,\d{3})*(?:\.\d+)?[A-Za-z]*)"
    r"|(?P<factor>[xyznk](?=\s*(?:[-+*/^=)}\]]|[.,;]?\s*$))|[xX](?=\s*10\b))"
    r"|(?P<letter>[A-Za-z](?![A-Za-z]))"
    r"|(?P<space>[ \t]+)"
    r"|(?P<stop>[.;?!](?=\s|$)|</)"
    r"|[^A-Za-z\n]"
)
_NUMBER = re.compile(
    r"\s*[*_]*(?P<number>[-+\u2212\u2013]?\s?[$€£¥₹]?"
    r"(?:(?:\d[\d,]*(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d+)?(?:\s+\d+(?=\s*/))?(?:\s*/\s*\d+)?|\d*[\u00bc-\u00be\u2150-\u215e])"
    r"\s*\\?[%€°]?|-?\\d?frac\{-?\d+\}\{\d+\})[*_]*\.?\s*"
)
_LEFT_SIDE = re.compile(r"[*_\s]*[A-Za-z]\s*|[\d\s+*/^().,=%\u00d7\u00f7\u2212-]*")
_ASKS = re.compile(r"(?:\banswers?(?:\s+is\s*:?|\s*[:=])|<answer>|\\boxed\{|####)\s*\Z", re.IGNORECASE)


def behind_thoughts(completion: str, question: str = "") -> str:
    """What follows the model's thoughts; nothing, if they began here or at the end of the question and do not end."""
    _, ended, text = completion.rpartition(_THOUGHTS_END)
    if not ended and question.rstrip().endswith(_THOUGHTS):
        return ""
    return text.partition(_THOUGHTS)[0]


def boxed(text: str) -> str | None:
    r"""Content of the last \boxed{...}, or of the last joined ones with commas between; None if it never closes."""
    text = _OTHER_BOX.sub(lambda box: OPENING + (f"{box[1]}}}" if box[1] else ""), text)  # as MATH has them, too
    boxes = list(_boxes(text))
    if not boxes or text.find(OPENING, boxes[-1].end) >= 0:
        return None
    return _joined(text, boxes)


def boxed_in(completion: str, question: str = "") -> str | None:
    """As `answer_in`, of boxes only."""
    opening = OPENING if question.rstrip().endswith(OPENING) else ""
    return boxed(opening + behind_thoughts(completion, question))


def answer_in(completion: str, question: str = "") -> str | None:
    """The answer as it is written, without what marks it; None if there is none.

    A question that ends as "Answer:" or `\\boxed{` opens the form that the completion goes on with.
    """
    asked = _ASKS.search(question[-80:])
    text = (asked[0] if asked else "") + behind_thoughts(completion, question)
    if (found := boxed(text)) is not None:
        return found
    found = _stated(text)
    if found is not None and not (asked and _is_quoted_sum(found, question)):
        return found
    if (found := _formula(text, question)) is not None:
        return found
    left, _, right = text.rpartition("=")
    number = _NUMBER.fullmatch(right) if _LEFT_SIDE.fullmatch(left) else None
    return number["number"] if number else None


def answer_of_solution(solution: str) -> str:
    r"""What a task's answer holds: the end of a solution that marks it, or all of it.

    A dollar that is escaped, or has no partner, is money.
    """
    found = boxed(solution)
    if found is None and "####" in solution:
        found = solution.rpartition("####")[2]
    if found is None and (spans := list(_formulas(solution))):
        found = _joined(solution, spans)
    return (solution if found is None else found).strip()


@dataclass(frozen=True, slots=True)
class _Span:
    """A marked piece of a text; `start` and `end` include its marks."""

    start: int
    end: int
    content: str


def _boxes(text: str) -> Iterator[_Span]:
    """Closed boxes that lie in no other, up to the first that never closes."""
    start = text.find(OPENING)
    while start >= 0:
        end = _closing(text, start + len(OPENING))
        if end is None:
            return
        yield _Span(start, end + 1, text[start + len(OPENING) : end])
        start = text.find(OPENING, end)


def _closing(text: str, start: int) -> int | None:
    """Position of the brace that closes one opened before `start`."""
    depth = 1
    for position in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[position], 0)
        if depth == 0:
            return position
    return None


def _joined(text: str, spans: Sequence[_Span], first: int | None = None) -> str:
    """The last span, or from `first` on, with those it is joined to; equal ones once."""
    if first is None:
        parts = [spans[-1]]
        for span in reversed(spans[:-1]):
            if not _JOINT.fullmatch(text, span.end, parts[0].start):
                break
            parts.insert(0, span)
    else:
        parts = [spans[first]]
        for span in spans[first + 1 :]:
            if not _JOINT.fullmatch(text, parts[-1].end, span.start):
                break
            parts.append(span)
    return ", ".join(dict.fromkeys(part.content.strip() for part in parts))


def _formulas(text: str) -> Iterator[_Span]:
    position = 0
    never_closed: set[str] = set()
    while opener := _OPENER.search(text, position):
        mark, position = opener[0], opener.end()
        closer = None if mark in never_closed else _CLOSER[mark].search(text, position)
        if closer is None:
            never_closed.add(mark)
            continue
        content = text[position : closer.start()]
        if closer[0] == "\n" or not content.strip() or (mark == "$" and _MONEY.match(content)):
            continue
        yield _Span(opener.start(), closer.end(), content)
        position = closer.end()


def _formula(text: str, question: str) -> str | None:
    """The last formula, unless the question holds it."""
    spans = list(_formulas(text))
    if not spans:
        return None
    found = _joined(text, spans)
    return None if _is_quoted(found, question) else found


def _is_quoted(formula: str, question: str) -> bool:
    """Whether it stands in the question, spaces and a question's "= ?" aside; a number not as a part of another."""
    wanted = "".join(formula.split()).rstrip("=?")
    if len(wanted) > len(question):
        return False
    pattern = r"\s*".join(map(re.escape, wanted))
    before, after = (r"(?<![\w.])" if wanted[:1].isalnum() else ""), (r"(?!\w|\.\d)" if wanted[-1:].isalnum() else "")
    return re.search(before + pattern + after, question) is not None


def _is_quoted_sum(answer: str, question: str) -> bool:
    """Whether an answer is no number yet, but what the question asks to compute."""
    return _NUMBER.fullmatch(answer) is None and _is_quoted(answer, question)


def _stated(text: str) -> str | None:
    """What is behind the last words that announce an answer."""
    for mention in reversed(deque(_MENTION.finditer(text), _MOST_MENTIONS)):
        if mention["tag"]:
            return _in_tag(text[mention.end() :])
        says = mention if mention["sign"] else _IS.match(text, mention.end())
        if says is None or _VERB.search(text[max(0, mention.start() - 16) : mention.start()]):
            continue
        start = _FILLER.match(text, says.end()).end()  # type: ignore[union-attr]  # it matches nothing, too
        if _DENIES.search(says[0]) or _ABOUT.match(text, start):
            continue
        return _given(text, start) or None
    return None


def _in_tag(behind: str) -> str | None:
    content = behind.partition("</answer>")[0].strip()
    return boxed(content) or _stated(content) or _given(content, 0) or None


def _given(text: str, start: int) -> str:
    """The answer that begins at `start`: formulas, an expression up to the next word, or else words up to a stop."""
    spans = list(_formulas(text[start : text.find("\n\n", start) if "\n\n" in text[start:] else len(text)]))
    if spans and spans[0].start == 0:
        return _joined(text[start:], spans, first=0)
    line = text[start:].partition("\n")[0]
    return _expression(line) or re.split(r"[.,;?!](?:\s|$)", line, maxsplit=1)[0].strip(" *_`\"'")


def _expression(line: str) -> str:
    """The longest beginning that is no words: "25" of "25 apples each", "x = 5" of "x = 5 because"."""
    found, before = "", ""
    position = 0
    while token := _TOKEN.match(line, position):
        if token["stop"] or (token["letter"] and not _may_follow(before, found)):
            break
        found += ", " if token["list"] else token[0]
        if not token["space"]:
            before = token[0]
        position = token.end()
    return found.lstrip(" \t*_`\"',;:=").rstrip(" \t*_`\"'.,;:=<([{")


def _may_follow(before: str, found: str) -> bool:
    """Whether a letter is a variable here, and no word as "I" or "a"."""
    return not found.strip() or not found[-1].isspace() or before[-1] in "=+-*/^(<>{[|"
