"""Who may look at a whole service: by a token of its file, over HTTP."""

from treeroll.access.identity import Role
from treeroll.access.tokens import Tokens
from treeroll.errors import NotAuthenticated


def refused_viewer(tokens: Tokens, authorization: str, what: str) -> tuple[int, str] | None:
    """Status and sentence for a caller whom a service would not let look at all its runs; None for one that it would.
    `what` is asked."""
    try:
        who = tokens.who(authorization or None).identity
    except NotAuthenticated as error:
        return 401, str(error) if authorization else f"{what} wants a token of its service, role viewer"
    if who.role not in (Role.VIEWER, Role.OPERATOR) or who.runs:
        return 403, (
            f"the token of '{who.name}' is not for looking at all runs; `treeroll token make viewer NAME` makes one "
            "that is"
        )
    return None
