"""Every error treeroll raises on purpose, split by blame.

    TreerollError
    ├── CallerError            the caller's input or timing; do not retry unchanged
    │   ├── InvalidInput       a value is wrong; names what and where
    │   │   ├── BadWeights     a directory of weights cannot be used; what was in use still is
    │   │   └── BadReport      what a replica reports cannot be; nothing of it is taken
    │   ├── UnknownRun, UnknownTree, UnknownNode, UnknownPool
    │   ├── Conflict           same key, other content
    │   │   ├── RunConflict, TaskConflict, RewardConflict, WeightsConflict, ShareConflict
    │   ├── NotAuthenticated   no token, or none that is in force
    │   ├── NotAllowed         the token is not for this method, or not for this run
    │   ├── RunClosed          tasks for a run that takes no more
    │   ├── RunBusy            to be deleted, and has not ended
    │   ├── RunSuspended       the service cannot go on with a run of an earlier life
    │   ├── Fenced             another process is this replica now
    │   ├── LeaseLost          the lease moved on; somebody else has the tree
    │   ├── GroupMoved         the group went to a saved state after the leases were given
    │   ├── VersionTooOld      weights whose version is not above the current one
    │   ├── PublicationBusy    weights while others are on their way
    │   ├── WeightsRefused     a replica cannot use the weights; nothing has changed
    │   └── PolicyFailed       a policy of the run raised, or said what cannot be; nothing has changed
    ├── Unavailable            the service or a part of it does not answer; retry
    │   ├── TooManyCalls       of one caller at once
    │   ├── TreeChanged        deleted, or begun anew, while it was read
    │   ├── Drained            it starts no more trees until its drain is taken back
    │   ├── StoreFull          the store is almost full, so the service takes no tasks until it has room
    │   └── StandsBy           another service has the store; this one waits for its silence
    ├── StoreError             the store refused or lost something
    │   ├── StaleEpoch         another coordinator has taken over
    │   ├── LostWork           it went back in time: what it had answered for is gone
    │   └── StoreDown          the store does not answer or takes no writes, for now; also an Unavailable
    ├── EngineError            the engine failed
    ├── BadOutput              the engine gave a request numbers that cannot be
    ├── Stalled                no tree comes, within the time that the caller gave it or ever
    └── BrokenInvariant        a promise of ours was about to break: a bug

Messages are one sentence: what is wrong, where, and what to do. `GRPC_CODES` is the only table from errors to gRPC.
"""

from treeroll.invariants import Invariant


class TreerollError(Exception):
    """Root of all errors raised on purpose."""


class CallerError(TreerollError):
    """The caller's input or timing is wrong."""


class InvalidInput(CallerError):
    """A value is wrong; the message names what and where."""


class BadWeights(InvalidInput):
    """A directory of weights cannot be used; the message names directory, file and tensor. What was in use still is."""


class BadReport(InvalidInput):
    """What a replica reports of `grant` (0: of none) cannot be; nothing of it is taken."""

    def __init__(self, detail: str, grant: int = 0) -> None:
        super().__init__(detail)
        self.grant = grant


class UnknownRun(CallerError):
    """No run has this id."""


class UnknownTree(CallerError):
    """No tree has this id."""


class UnknownNode(CallerError):
    """The tree has no such node."""


class UnknownPool(CallerError):
    """The service has no pool of this name."""


class Conflict(CallerError):
    """The key exists with other content."""


class RunConflict(Conflict):
    """The run exists with another configuration."""


class TaskConflict(Conflict):
    """The task key exists with other content."""


class RewardConflict(Conflict):
    """The node already has another reward from this scorer version."""


class WeightsConflict(Conflict):
    """The version of weights exists with other content."""


class ShareConflict(Conflict):
    """The global batch is shared by another number of ranks."""


class NotAuthenticated(CallerError):
    """The call brings no token, or none that is in force."""


class NotAllowed(CallerError):
    """The caller's token is not for this method, or not for this run."""


class RunClosed(CallerError):
    """The run takes no more tasks."""


class RunBusy(CallerError):
    """The run has not ended, so it cannot be deleted."""


class RunSuspended(CallerError):
    """The service cannot go on with this run of an earlier life; the message says why."""


class LeaseLost(CallerError):
    """The lease moved on: it expired and another consumer may hold the tree."""


class Fenced(CallerError):
    """Another process is this replica now: this one must end."""


class VersionTooOld(CallerError):
    """Weights must have a higher version than those in force."""


class PublicationBusy(CallerError):
    """Other weights are on their way in this pool."""


class WeightsRefused(CallerError):
    """A replica cannot use the weights that were published; those before are still in force."""


class PolicyFailed(CallerError):
    """A policy of the run raised, or said what cannot be; the message names it, and nothing was done."""


class GroupMoved(CallerError):
    """The group went to a saved state after these leases were given: what holds them is no longer its trainer."""


class Unavailable(TreerollError):
    """The service, or a part it needs, does not answer; try again."""


class TreeChanged(Unavailable):
    """The tree was deleted, or began anew, while it was read; clients read it again."""


class TooManyCalls(Unavailable):
    """The caller has as many calls under way, or has begun as many in a second, as it may; clients try again."""


class Drained(Unavailable):
    """The service drains: it starts no more trees, and takes no tasks, until the drain is taken back."""


class StoreFull(Unavailable):
    """The store is full, or almost: the service takes no tasks until it has room."""


class StandsBy(Unavailable):
    """Another service has the store; this one takes over when that falls silent."""


class StoreError(TreerollError):
    """The store refused or lost something."""


class StaleEpoch(StoreError):
    """A newer coordinator owns the store; this one must stop writing."""


class LostWork(StoreError):
    """The store went back in time: what it had answered for is gone, and the owner's memory is ahead of it."""


class StoreDown(StoreError, Unavailable):
    """The store does not answer, or takes no writes, for now: what was asked has not been done in part; try again."""

    full = False
    """It has no memory left for writes."""


class EngineError(TreerollError):
    """The engine failed; its replica cannot go on."""


class BadOutput(TreerollError):
    """What the engine says of a request's tokens cannot be; nothing of it may become a sample."""


class Stalled(TreerollError):
    """No tree came within the time that the caller gave it, or none will; the message says how the run stands."""


class BrokenInvariant(TreerollError):
    """A named promise would break. A service of another version may name one that this version does not know."""

    def __init__(self, invariant: Invariant | str, detail: str) -> None:
        super().__init__(f"{invariant}: {detail}")
        self.invariant = invariant
        self.grant = 0
        """Whose report would have broken it; 0: no report."""


# Names of grpc.StatusCode members; most specific class wins.
GRPC_CODES: dict[type[TreerollError], str] = {
    InvalidInput: "INVALID_ARGUMENT",
    UnknownRun: "NOT_FOUND",
    UnknownTree: "NOT_FOUND",
    UnknownNode: "NOT_FOUND",
    UnknownPool: "NOT_FOUND",
    Conflict: "ALREADY_EXISTS",
    NotAuthenticated: "UNAUTHENTICATED",
    NotAllowed: "PERMISSION_DENIED",
    RunClosed: "FAILED_PRECONDITION",
    RunBusy: "FAILED_PRECONDITION",
    RunSuspended: "FAILED_PRECONDITION",
    Fenced: "FAILED_PRECONDITION",
    LeaseLost: "FAILED_PRECONDITION",
    VersionTooOld: "FAILED_PRECONDITION",
    PublicationBusy: "FAILED_PRECONDITION",
    WeightsRefused: "FAILED_PRECONDITION",
    GroupMoved: "FAILED_PRECONDITION",
    PolicyFailed: "FAILED_PRECONDITION",
    Drained: "FAILED_PRECONDITION",  # not what clients try again
    StoreFull: "RESOURCE_EXHAUSTED",  # nor this
    TooManyCalls: "RESOURCE_EXHAUSTED",  # but this
    Unavailable: "UNAVAILABLE",
    StaleEpoch: "ABORTED",
    StoreDown: "UNAVAILABLE",
    LostWork: "UNAVAILABLE",
    StoreError: "INTERNAL",  # another try changes nothing
    EngineError: "INTERNAL",
    BadOutput: "INTERNAL",
    BrokenInvariant: "INTERNAL",
    CallerError: "INVALID_ARGUMENT",
    TreerollError: "INTERNAL",
}

ERROR_METADATA_KEY = "treeroll-error"
# gRPC's own name for how long a server wants not to be asked again, milliseconds.
RETRY_METADATA_KEY = "grpc-retry-pushback-ms"


def grpc_code(error: TreerollError) -> str:
    """Name of the gRPC status code for an error."""
    return next(GRPC_CODES[kind] for kind in type(error).__mro__ if kind in GRPC_CODES)


def by_name(name: str) -> type[TreerollError]:
    """Class of a typed error sent over the wire; TreerollError for a name this version does not know."""
    found = globals().get(name)
    return found if isinstance(found, type) and issubclass(found, TreerollError) else TreerollError


def cause_of(error: BaseException) -> BaseException:
    """The first typed error in a group, else the group's first error; another error is its own cause."""
    while isinstance(error, BaseExceptionGroup):
        typed: BaseExceptionGroup[BaseException] | None = error.subgroup(TreerollError)
        error = (typed or error).exceptions[0]
    return error
