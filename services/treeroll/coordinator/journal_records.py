"""Entries of a tree's journal as records, and back. Times are stored as those of the day: clocks begin anew."""

from collections.abc import Callable

from treeroll import clock
from treeroll.core.model.events import EndKind
from treeroll.core.model.journal import (
    Abstained,
    Asked,
    Carried,
    Cut,
    Ended,
    Entry,
    Faulted,
    Judged,
    Lost,
    Overtaken,
    Planted,
    Reported,
    TimedOut,
)
from treeroll.core.model.run import TaskSpec
from treeroll.pb.v1 import common_pb2 as pb
from treeroll.pb.v1 import store_pb2 as stored
from treeroll.policy.allocate import TaskView
from treeroll.records.why import why_of, why_record

FLAGS: dict[str, Callable[[], Entry]] = {"asked": Asked, "timed_out": TimedOut, "faulted": Faulted}


def wall_of(at: float) -> float:
    """A time on the clock of `now` in seconds since the Unix epoch."""
    return at + clock.wall() - clock.monotonic()


def now_of(wall: float) -> float:
    """The same the other way round."""
    return wall + clock.monotonic() - clock.wall()


def entry_record(entry: Entry, nodes: int) -> bytes:  # noqa: C901  # one case an entry
    """An entry about a tree that had so many nodes."""
    record = stored.JournalEntry(nodes=nodes)
    match entry:
        case Planted() as planted:
            record.planted.CopyFrom(_planted(planted))
        case Reported(branch, tokens, end, replica_id):
            told = stored.JournalEntry.Reported(branch=branch, tokens=tokens, end=end or "", replica_id=replica_id)
            record.reported.CopyFrom(told)
        case Lost(branch, refused):
            record.lost.CopyFrom(stored.JournalEntry.Lost(branch=branch, refused=refused))
        case Cut(branch, reason, error, why):
            cut = stored.JournalEntry.Cut(branch=branch, reason=reason, error=error, why=why_record(why))
            record.cut.CopyFrom(cut)
        case Ended(reason, error, waiting):
            record.ended.CopyFrom(stored.JournalEntry.Ended(reason=reason, error=error, waiting=waiting))
        case Judged(node, value):
            record.judged.CopyFrom(stored.JournalEntry.Judged(node=node, value=value))
        case Abstained(leaf):
            record.abstained = leaf
        case Overtaken(version):
            record.overtaken = version
        case Carried(tokens):
            record.carried = tokens
        case Asked():
            record.asked = True
        case TimedOut():
            record.timed_out = True
        case Faulted():
            record.faulted = True
    return record.SerializeToString()


def _planted(planted: Planted) -> stored.JournalEntry.Planted:
    return stored.JournalEntry.Planted(
        admitted=planted.admitted,
        home=planted.home,
        model=planted.model,
        block_size=planted.block_size,
        max_model_len=planted.max_model_len,
        at=wall_of(planted.at),
        weight_version=planted.weight_version,
        charge=planted.charge,
        promised=planted.promised,
        placed=planted.placed,
        asked=planted.asked,
        leaves=planted.leaves,
        seen=seen(planted.view),
        first_grant=planted.first_grant,
        allotted_by=why_record(planted.allotted_by),
    )


def seen(view: TaskView | None) -> pb.TaskSeen | None:
    """What an allocator had seen of a task beside what its header says."""
    return None if view is None else pb.TaskSeen(successes=view.successes, scored=view.scored, tokens=view.tokens)


def view_of(said: pb.TaskSeen, task: TaskSpec) -> TaskView:
    """The same back."""
    tokens = len(task.prompt_ids) // 4
    return TaskView(task.task_id, task.prompt_text, tokens, said.successes, said.scored, said.tokens)


def entry_of(record: stored.JournalEntry, task: TaskSpec) -> Entry:  # one case an entry
    """The entry of a record of the task's tree."""
    match record.WhichOneof("entry"):
        case "planted":
            return _planted_of(record.planted, task)
        case "reported":
            told = record.reported
            return Reported(told.branch, told.tokens, EndKind(told.end) if told.end else None, told.replica_id)
        case "lost":
            return Lost(record.lost.branch, record.lost.refused)
        case "cut":
            cut = record.cut
            return Cut(cut.branch, cut.reason, cut.error, why_of(cut.why) if cut.HasField("why") else None)
        case "ended":
            return Ended(record.ended.reason, record.ended.error, tuple(record.ended.waiting))
        case "judged":
            judged = record.judged
            return Judged(judged.node, judged.value if judged.HasField("value") else None)
        case "abstained":
            return Abstained(record.abstained)
        case "carried":
            return Carried(record.carried)
        case "overtaken":
            return Overtaken(record.overtaken)
        case name if name in FLAGS:
            return FLAGS[name]()
        case _:
            raise ValueError("its journal has an entry of a kind that this version does not know")


def _planted_of(told: stored.JournalEntry.Planted, task: TaskSpec) -> Planted:
    return Planted(
        told.admitted,
        told.home,
        told.model,
        told.block_size,
        told.max_model_len,
        now_of(told.at),
        told.weight_version,
        told.charge,
        told.promised,
        told.placed,
        told.asked,
        told.leaves,
        view_of(told.seen, task) if told.HasField("seen") else None,
        told.first_grant,
        why_of(told.allotted_by) if told.HasField("allotted_by") else None,
    )
