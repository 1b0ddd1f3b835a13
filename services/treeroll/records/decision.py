"""Decision: a row of events.parquet, one of what a service decided of a run's trees."""

from treeroll.records.column import DType, columns_of, of_log, record
from treeroll.records.events import Event
from treeroll.why import Why

# Kinds whose path says something; the root's is empty.
_OF_A_PATH = frozenset({"forked", "granted", "masked", "ended_path", "let_end"})
_COUNTS = frozenset({"started", "granted", "lost", "cut", "stopped", "ended"})


@record()
class Decision:
    """What was decided of a tree, and why. docs/records.md has the fields."""

    at: float = of_log(DType.FLOAT64, "When it was committed, by the coordinator's clock.", unit="s since 1970")
    epoch: int = of_log(DType.INT64, "The coordinator that decided: its epoch.")
    run_id: str = of_log(DType.STRING, "The run.")
    tree_id: str = of_log(DType.STRING, "The tree.")
    kind: str = of_log(
        DType.STRING,
        "`started`, `forked`, `granted`, `masked`, `ended_path`, `let_end`, `lost`, `cut`, `stopped` or `ended`: "
        "see below.",
    )
    path: str | None = of_log(DType.STRING, "The node it is about; null for those of a branch or of the whole tree.")
    replica_id: str | None = of_log(DType.STRING, "The replica that was chosen.")
    count: int | None = of_log(
        DType.INT64,
        "`started`: leaves allotted (0: no allocator); `granted`: attempt; `lost`, `cut`: number of the branch; "
        "`stopped`: branches that waited; `ended`: leaves.",
    )
    waited_s: float | None = of_log(DType.FLOAT64, "How long the branch waited for its grant.", unit="s")
    reason: str | None = of_log(
        DType.STRING,
        "`forked`: its branch reason; `granted`, `masked`: the account that had too little room; `ended_path`, `cut`, "
        "`stopped`: the stop reason; `ended`: the tree's status.",
    )
    detail: str | None = of_log(
        DType.TEXT, "`ended_path`: `leaf` or `pruned`; `cut`, `stopped`, `ended`: what went wrong, if anything did."
    )
    why: Why | None = of_log(DType.WHY, "The rule that decided, and the numbers that it compared.")


DECISION_COLUMNS = columns_of(Decision)


def decision(at: float, epoch: int, event: Event) -> Decision:
    """An event of a tree as a row."""
    kind = event.kind
    return Decision(
        at=at,
        epoch=epoch,
        run_id=event.run,
        tree_id=event.tree,
        kind=kind,
        path=event.path if kind in _OF_A_PATH else None,
        replica_id=event.replica or None,
        count=event.count if kind in _COUNTS else None,
        waited_s=event.seconds if kind == "granted" else None,
        reason=event.reason or None,
        detail=event.detail or None,
        why=event.explained,
    )
