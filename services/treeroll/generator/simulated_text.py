r"""What the simulated engine writes: worked arithmetic in the demo model's format, with mistakes and of varying length.

    Compute 12+4*6-30.
    Step 1: 4*6=24, so 12+24-30.
    Check 4*6=24.
    Step 2: 12+24=35, so 35-30.
    Step 3: 35-30=5.
    The answer is \boxed{5}.

Every character is a pure function of the seed and of the text before it, as with a language model: a fork reads well
whoever wrote its prefix, and a branch that is granted again with its old seed continues exactly as it would have.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from treeroll.tree.rng import hash64, randint, uniform

_CHAIN = re.compile(r"-?\d+(?:[-+*]-?\d+)*")
_TERM = re.compile(r"([-+*]?)(-?\d+)")
_STEP = re.compile(r"Step \d+: (?P<equation>[-+*\d]+=(?P<result>-?\d+))(?:, so (?P<rest>[-+*\d]+))?\.")
_MORE = re.compile(r"Now (-?\d+\+\d\d)\.")

Tokens = list[int | str]  # numbers and operators, alternating


@dataclass(frozen=True, slots=True)
class Piece:
    """Some characters, all with the same probability of having been sampled."""

    text: str
    logprob: float | None
    """The log probability of its one character, if that was a choice; None for text that follows from the rest."""


def parse(chain: str) -> Tokens:
    """Numbers and operators of a chain such as "12+4*6-30"; numbers may be negative."""
    tokens: Tokens = []
    for operator, number in _TERM.findall(chain):
        # "-3" at the start is a number; after a number the sign is an operator.
        if tokens:
            tokens.append(operator or "+")
            tokens.append(int(number))
        else:
            tokens.append(-int(number) if operator == "-" else int(number))
    return tokens


def chain_of(prompt: str, key: bytes) -> str:
    """The task in a prompt "Compute CHAIN."; for any other prompt a short chain that depends on its tokens."""
    found = re.search(rf"Compute ({_CHAIN.pattern})", prompt)
    if found:
        return found[1]
    seed = hash64(key.hex())
    return "+".join(str(randint(2, 49, seed, i)) for i in range(randint(2, 4, seed, "terms")))


class Writer:
    """Continues a solution. Iterating gives pieces up to the end of the answer; then the text ends."""

    def __init__(self, chain: str, written: str, seed: int, greedy: bool = False, endless: bool = False) -> None:
        self._seed = seed
        self._greedy = greedy  # always the likeliest character
        self._endless = endless  # never answers
        self._position = len(written)
        self._tokens = parse(chain)
        self._steps = 0
        self._checks = 0
        self._equation = chain
        *lines, self._line = written.split("\n")
        for line in lines:
            self._read(line)

    def __iter__(self) -> Iterator[Piece]:
        while True:
            if not self._line:
                yield from self._emit(self._first_letter())
            kind = self._line[0]
            answer = f"The answer is \\boxed{{{self._tokens[0]}}}."
            if kind == "T" and answer.startswith(self._line):
                yield from self._rest_of(answer)
                return
            if kind == "C":
                yield from self._rest_of(f"Check {self._equation}.")
            elif kind == "S" and len(self._tokens) > 1:
                yield from self._step()
            elif kind == "N":
                yield from self._more()
            self._read(self._line)
            yield from self._emit("\n")
            self._line = ""

    def _read(self, line: str) -> None:
        """Take in a finished line; lines of another form change nothing."""
        if line.startswith("Check"):
            self._checks += 1
        elif (more := _MORE.fullmatch(line)) is not None:
            self._tokens = parse(more[1])
        elif (step := _STEP.fullmatch(line)) is not None:
            self._steps += 1
            self._checks = 0
            self._equation = step["equation"]
            self._tokens = parse(step["rest"] or step["result"])

    def _first_letter(self) -> str:
        """What the next line is. The more checks there are, the likelier one more: lengths have a long tail."""
        may_check = self._steps > 0 or self._endless
        if may_check and not self._greedy and self._chance((self._checks + 0.3) / (self._checks + 1.8)):
            return "C"
        if len(self._tokens) > 1:
            return "S"
        return "N" if self._endless else "T"

    def _step(self) -> Iterator[Piece]:
        at = self._tokens.index("*") if "*" in self._tokens else 1
        left, operator, right = self._tokens[at - 1 : at + 2]
        head = f"Step {self._steps + 1}: {left}{operator}{right}="
        if not self._line.startswith(head):
            if not head.startswith(self._line):
                return  # somebody else's words; a new line makes sense again
            yield from self._rest_of(head)
        truth = _apply(int(left), str(operator), int(right))
        yield from self._result(head, truth, 0.03 if operator == "*" else 0.01)
        result = re.match(r"-?\d*", self._line[len(head) :])
        value = int(result[0]) if result and result[0].lstrip("-") else truth
        rest = [*self._tokens[: at - 1], value, *self._tokens[at + 2 :]]
        so = f", so {''.join(map(str, rest))}" if len(rest) > 1 else ""
        yield from self._rest_of(f"{head}{value}{so}.")

    def _more(self) -> Iterator[Piece]:
        """A new term, so that a text that must not end has something left to do."""
        head = f"Now {self._tokens[0]}+"
        yield from self._rest_of(head)
        while self._line.startswith(head) and _is_open_number(self._line[len(head) :], 2):
            digit = str(randint(1, 9, self._seed, "digit", self._position))
            yield from self._emit(digit, -math.log(9))
        if _MORE.fullmatch(self._line + "."):
            yield from self._emit(".")

    def _result(self, head: str, truth: int, slip: float) -> Iterator[Piece]:
        """Digits one by one, each with some chance of a slip that grows with the number's length."""
        true = str(truth)
        slip = min(0.3, slip * len(true))
        done = self._line[len(head) :]
        if not _is_open_number(done, len(true)):
            return
        for i in range(len(done), len(true)):
            right = self._line[len(head) :] == true[:i]
            if true[i] == "-" or (right and (self._greedy or not self._chance(slip))):
                yield from self._emit(true[i], math.log1p(-slip))
                continue
            low = 1 if i == 0 and len(true) > 1 else 0
            digit = str(randint(low, 9, self._seed, "digit", self._position))
            yield from self._emit(digit, math.log(slip / 10) if right else -math.log(10))

    def _rest_of(self, line: str) -> Iterator[Piece]:
        if line.startswith(self._line):
            yield from self._emit(line[len(self._line) :])

    def _emit(self, text: str, logprob: float | None = None) -> Iterator[Piece]:
        if text:
            self._line += text
            self._position += len(text)
            yield Piece(text, logprob)

    def _chance(self, probability: float) -> bool:
        return uniform(self._seed, "choice", self._position) < probability


def _apply(left: int, operator: str, right: int) -> int:
    if operator == "*":
        return left * right
    return left + right if operator == "+" else left - right


def _is_open_number(text: str, digits: int) -> bool:
    """Whether this is the beginning of a number of so many characters."""
    return len(text) < digits and (text in ("", "-") or text.lstrip("-").isdigit())
