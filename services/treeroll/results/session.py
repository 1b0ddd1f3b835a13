"""Session: what one run of the command contributed, written into every file with the rows it made."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

METADATA_KEY = b"treeroll.sessions"


@dataclass(slots=True)
class Figures:
    """What only the service knows, summed over everything it did for the run, delivered or not."""

    generated_tokens: int = 0
    cached_tokens: int = 0
    recomputed_tokens: int = 0
    forks: int = 0
    fork_requests: int = 0
    fork_recomputed_tokens: int = 0
    regrants: int = 0
    lost_tokens_max: int = 0
    engine_errors: int = 0
    policy_errors: int = 0

    @classmethod
    def of(cls, status: Any) -> "Figures":
        """Make a session from a `RunStatus`."""
        own = {column.name: getattr(status, column.name) for column in fields(cls) if column.name != "generated_tokens"}
        return cls(generated_tokens=status.ledger.spent, **own)

    def add(self, other: "Figures") -> None:
        """Sum up."""
        for column in fields(self):
            setattr(self, column.name, getattr(self, column.name) + getattr(other, column.name))


@dataclass(slots=True)
class Session:
    """One run at one service. Its figures only grow, so a later record of the same run replaces an earlier one."""

    run_id: str
    setup_s: float = 0.0
    """Until the service was ready."""
    wall_s: float = 0.0
    """Seconds from the first submission to the last tree so far."""
    figures: Figures = field(default_factory=Figures)
    replicas: int = 0
    versions: dict[str, str] = field(default_factory=dict)
    """Software that made the rows."""
    caps: list[dict[str, Any]] = field(default_factory=list)
    """What the run may use and has used: `client.status.Cap` as mappings."""
    stop_reason: str = ""
    stop_detail: str = ""
    """Why the run came short of its tasks, as in `RunStatus`."""
    engine_error: str = ""
    """The latest error of a request in an engine."""
    policy_error: str = ""
    """The latest failure of a policy."""
    quarantined: list[str] = field(default_factory=list)
    """Ids of tasks that replicas died of."""
    decisions_upto: int = 0
    """Place in the service's log of decisions, up to which those of the run are in the files."""
    decisions_missing: str = ""
    """Why not all of them are, if they are not."""

    def read(self, status: Any) -> None:
        """Take over a newer `RunStatus`."""
        self.figures = Figures.of(status)
        self.caps = [asdict(cap) for cap in status.caps]
        self.stop_reason, self.stop_detail = status.stop_reason, status.stop_detail
        self.engine_error, self.policy_error = status.engine_error, status.policy_error
        self.quarantined = list(status.quarantined)


Sessions = dict[str, Session]


def dump(sessions: Sessions) -> dict[bytes, bytes]:
    """The session as file metadata."""
    return {METADATA_KEY: json.dumps([asdict(session) for session in sessions.values()]).encode()}


def load(metadata: Mapping[bytes, bytes] | None) -> Sessions:
    """Read the session from file metadata; none for a file of somebody else's."""
    records = json.loads((metadata or {}).get(METADATA_KEY, b"[]"))
    return {record["run_id"]: Session(**{**record, "figures": Figures(**record["figures"])}) for record in records}
