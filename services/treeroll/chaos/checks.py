"""What must hold at the end of a disturbed run, whatever happened in it: trainers' logs against the store."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from treeroll.chaos.trainer_log import Rows, Told
from treeroll.client.status import RunStatus

# Cases that a finding names.
NAMED = 3


@dataclass(slots=True)
class Evidence:
    """All that is known of a run after its end."""

    tasks: list[str]
    """Ids of the tasks that were submitted."""
    logs: list[list[Told]]
    """One for each trainer; all are of one group."""
    status: RunStatus
    feed: Counter[str]
    """Tree id -> terminal events in the store."""
    acknowledged: int
    """Trees that the store says the group has acknowledged."""
    undisturbed: Mapping[str, Rows] | None
    """Task -> its tree in a run of the same seed to which nothing happened; None if that says nothing, as of an engine
    that never makes the same tokens twice."""
    audit: list[str] = field(default_factory=list)
    """What the service's own audit found."""


def findings(evidence: Evidence) -> Iterator[str]:
    """Every promise that was broken, as a sentence."""
    yield from evidence.audit
    yield from _terminal_events(evidence)
    yield from _deliveries(evidence)
    yield from _ledger(evidence)
    yield from _rows(evidence)


def _terminal_events(evidence: Evidence) -> Iterator[str]:
    status = evidence.status
    if not status.ended:
        yield f"the run did not end: {status.waiting} tasks wait and {status.growing} grow"
    ended = status.finished + status.failed + sum(status.filtered.values())
    if not len(evidence.tasks) == status.submitted == ended == len(evidence.feed):
        yield (
            f"{len(evidence.tasks)} tasks were submitted, the run has {status.submitted} and ended {ended}, its feed "
            f"has {len(evidence.feed)}"
        )
    yield from _named("ended more than once", [tree for tree, times in evidence.feed.items() if times > 1])


def _deliveries(evidence: Evidence) -> Iterator[str]:
    """Each task came, all its deliveries were the same, and none came after an acknowledgement.

    What came first is told by the number of a delivery: a trainer that was stopped writes later what it got before.
    """
    told = sorted((line for log in evidence.logs for line in log), key=lambda line: line.at_s)
    came = [line for line in told if line.kind in ("delivered", "failed")]
    acked = _acknowledged(evidence.logs)
    tasks = {line.task for line in came}
    yield from _named("never reached a trainer", sorted(set(evidence.tasks) - tasks))
    yield from _named("reached a trainer, and were submitted by nobody", sorted(tasks - set(evidence.tasks)))
    late = {tree for line in came for tree in line.trees if line.number > acked.get(tree, line.number)}
    yield from _named("came again after they were acknowledged", sorted(late))
    numbers = Counter((tree, line.number) for line in came for tree in line.trees)
    yield from _named("had one delivery twice", sorted(tree for (tree, _), times in numbers.items() if times > 1))
    seen: dict[str, Told] = {}
    changed = [line.task for line in came if seen.setdefault(line.task, line).rows != line.rows]
    yield from _named("came again as another tree", changed)
    trees = {tree for line in came for tree in line.trees}
    yield from _named("were acknowledged, and are not in the feed", sorted(acked.keys() - evidence.feed.keys()))
    if evidence.acknowledged != len(evidence.feed) or trees != evidence.feed.keys():
        yield (
            f"of {len(evidence.feed)} ended trees {len(trees)} reached a trainer, and the store has "
            f"{evidence.acknowledged} as acknowledged"
        )


def _acknowledged(logs: Sequence[Sequence[Told]]) -> dict[str, int]:
    """Tree -> number of its first delivery that was acknowledged."""
    acked: dict[str, int] = {}
    for log in logs:
        numbers: dict[str, int] = {}
        for line in log:
            if line.kind == "acknowledged":
                acked |= {tree: min(numbers[tree], acked.get(tree, numbers[tree])) for tree in line.trees}
            else:
                numbers |= dict.fromkeys(line.trees, line.number)
    return acked


def _ledger(evidence: Evidence) -> Iterator[str]:
    """The run's account is what its trees say; those without a sample have no account that a trainer sees."""
    ledger = evidence.status.ledger
    if ledger.outstanding or ledger.granted != ledger.spent + ledger.returned:
        yield (
            f"granted {ledger.granted} is not spent {ledger.spent} + returned {ledger.returned}, "
            f"or {ledger.outstanding} are outstanding"
        )
    spent = {line.task: line.spent for log in evidence.logs for line in log if line.kind == "delivered"}
    if len(spent) == len(evidence.tasks) and sum(spent.values()) != ledger.spent:
        yield f"the trees that came spent {sum(spent.values())} tokens, the run {ledger.spent}"


def _rows(evidence: Evidence) -> Iterator[str]:
    """Trees are those of an undisturbed run, node for node, and none is without a sample."""
    wanted = evidence.undisturbed
    if wanted is not None:
        delivered = [line for log in evidence.logs for line in log if line.kind == "delivered"]
        different = [line for line in delivered if line.rows != wanted.get(line.task)]
        yield from _named(
            "are not as in an undisturbed run of the same seed",
            [f"{line.task} ({_first_difference(line.rows, wanted.get(line.task, {}))})" for line in different],
        )
    failed = {line.task: line.why for log in evidence.logs for line in log if line.kind == "failed"}
    yield from _named("ended without a sample", [f"{task} ({why})" for task, why in sorted(failed.items())])


def _first_difference(rows: Rows, wanted: Rows) -> str:
    for path in sorted(rows.keys() | wanted.keys(), key=lambda path: (path == "", path)):
        if rows.get(path) != wanted.get(path):
            what = "is missing" if path not in rows else "is too much" if path not in wanted else "differs"
            return f"node {path} {what}" if path else "its leaves' credit differs"
    return "nothing differs"


def _named(what: str, cases: Sequence[str]) -> Iterator[str]:
    if cases:
        more = ", ..." if len(cases) > NAMED else ""
        yield f"{len(cases)} {what}: {', '.join(cases[:NAMED])}{more}"
