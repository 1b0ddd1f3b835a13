"""Who calls: what a token stands for, and whose call is being answered."""

from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum

from treeroll.errors import NotAllowed


class Role(StrEnum):
    """What a caller is there for."""

    CLIENT = "client"
    VIEWER = "viewer"
    OPERATOR = "operator"
    REPLICA = "replica"


@dataclass(frozen=True, slots=True)
class Identity:
    """A caller, by the name of its token: a run belongs to the name, whichever token of it created the run."""

    name: str
    role: Role
    runs: str = ""
    """How ids of runs begin that it may have to do with."""
    replicas: str = ""
    """How ids of replicas begin that it may be, beside the one of its name."""
    publish: bool = False
    """Whether, as a client, it may publish weights: other clients' runs grow with them, too."""


NOBODY_ASKED = Identity("", Role.OPERATOR)
"""Every caller of a service without tokens."""

_caller: ContextVar[Identity] = ContextVar("caller", default=NOBODY_ASKED)


def caller() -> Identity:
    """Whose call is being answered; who was let in said so, in the task of the call."""
    return _caller.get()


def check_may_publish() -> None:
    """NotAllowed for a client whose token does not say that it may publish weights."""
    who = caller()
    if who.role is Role.CLIENT and not who.publish:
        raise NotAllowed(
            f"the token of '{who.name}' is not for publishing weights, which are those of all runs; `treeroll token "
            "make client NAME --publish` makes one that is"
        )


def check_may_be(replica_id: str) -> None:
    """NotAllowed for a caller that is not this replica."""
    who = caller()
    of_a_fleet = who.replicas and replica_id.startswith(who.replicas)
    if who.role is Role.REPLICA and who.name != replica_id and not of_a_fleet:
        raise NotAllowed(f"the token of '{who.name}' is not for replica {replica_id!r}")


def answer(identity: Identity) -> None:
    """From here on the current task answers a call of this one."""
    _caller.set(identity)
