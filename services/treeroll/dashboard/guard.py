"""Guard: who may ask this server what, and what a browser may do with the answer.

Model output is the attacker: pages run no script but ours, load nothing from elsewhere and are in no frame. Another
site's page in the same browser is one, too: it has neither our Host, nor our Origin, nor the token.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from treeroll.addresses import is_loopback, join

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
_RAW_HEADERS = [(name.encode(), value.encode()) for name, value in HEADERS.items()]

API = "/api/"


@dataclass(frozen=True, slots=True)
class Door:
    """What is asked of every request."""

    host: str
    """Where the server listens."""
    port: int
    token: str | None
    """None: whoever reaches the loopback address may read."""

    @classmethod
    def new(cls, host: str, port: int, *, auth: bool = True) -> "Door":
        """With a token of its own. ValueError beyond loopback: there is neither TLS nor a role there."""
        if not is_loopback(host):
            raise ValueError(f"the dashboard listens on loopback only, and {host} is not")
        return cls(host, port, secrets.token_urlsafe(24) if auth else None)

    @property
    def url(self) -> str:
        """What a person opens: the token is in the fragment, which no browser sends or logs."""
        return f"http://{join(self.host, self.port)}/{f'#token={self.token}' if self.token else ''}"

    @property
    def hosts(self) -> frozenset[str]:
        """Values of Host that mean us; another is a foreign name that was made to lead here."""
        names = {join(self.host, self.port), *(f"{name}:{self.port}" for name in ("127.0.0.1", "localhost", "[::1]"))}
        return frozenset(names)

    def refusal(self, path: str, raw_path: bytes, headers: Mapping[str, str]) -> tuple[int, str] | None:
        """Status and sentence for a request that is not let in; None for one that is."""
        if headers.get("host", "") not in self.hosts:
            return 403, f"the dashboard is not at this host; open {self.url.partition('#')[0]}"
        origin = headers.get("origin")
        if origin is not None and origin.partition("://")[2] not in self.hosts:
            return 403, "pages of another site may not ask the dashboard"
        if b"%2e" in raw_path.lower() or b"%2f" in raw_path.lower() or b"%5c" in raw_path.lower() or "\\" in path:
            return 404, "there is no such page"
        if path.startswith(API) and self.token is not None and not self._knows(headers.get("authorization", "")):
            return 401, "the token is missing or of an earlier start: open the address that the dashboard printed"
        return None

    def _knows(self, authorization: str) -> bool:
        kind, _, given = authorization.partition(" ")
        return kind.lower() == "bearer" and secrets.compare_digest(given.encode(), (self.token or "").encode())


class Guard:
    """ASGI middleware that asks the door first and adds the headers to every answer."""

    def __init__(self, app: ASGIApp, door: Door) -> None:
        self._app = app
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # no websockets here
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", []), *_RAW_HEADERS]}
            await send(message)

        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        refused = self._door.refusal(scope["path"], scope.get("raw_path") or b"", headers)
        if refused is None:
            await self._app(scope, receive, guarded)
        else:
            status, sentence = refused
            await JSONResponse({"error": sentence, "code": status}, status)(scope, receive, guarded)
