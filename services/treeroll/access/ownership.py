"""Whose a run is: it belongs to the name that created it. Operators may do all with it, viewers see it."""

from treeroll.access.identity import Identity, Role, caller
from treeroll.errors import NotAllowed


def check_owner(run_id: str, owner: str) -> None:
    """NotAllowed unless the caller may do whatever it likes with a run of this owner."""
    _check(run_id, owner, _may_use(caller(), owner))


def check_reader(run_id: str, owner: str) -> None:
    """NotAllowed unless the caller may see a run of this owner."""
    _check(run_id, owner, _may_read(caller(), owner))


def check_run_id(run_id: str) -> None:
    """NotAllowed for a run whose id does not begin as those of the caller must."""
    who = caller()
    if not run_id.startswith(who.runs):
        raise NotAllowed(f"run '{run_id}' is not for the token of '{who.name}': its runs begin with '{who.runs}'")


def may_read(run_id: str, owner: str) -> bool:
    """Whether the caller may see a run of this owner."""
    who = caller()
    return run_id.startswith(who.runs) and _may_read(who, owner)


def _check(run_id: str, owner: str, may: bool) -> None:
    check_run_id(run_id)
    if not may:
        raise NotAllowed(f"run '{run_id}' belongs to somebody else than '{caller().name}'")


def _may_use(who: Identity, owner: str) -> bool:
    return who.role is Role.OPERATOR or (who.role is Role.CLIENT and who.name == owner)


def _may_read(who: Identity, owner: str) -> bool:
    return who.role is Role.VIEWER or _may_use(who, owner)
