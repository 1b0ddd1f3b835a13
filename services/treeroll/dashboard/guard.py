"""Guard: who may ask this server what, and what a browser may do with the answer.

Model output is the attacker: pages run no script but ours, load nothing from elsewhere and are in no frame. Another
site's page in the same browser is one, too: it has neither our Host, nor our Origin, nor the token.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from treeroll.access.config import AccessConfig, check_host
from treeroll.access.tokens import Tokens
from treeroll.access.viewers import refused_viewer
from treeroll.addresses import is_loopback, join
from treeroll.errors import InvalidInput

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
    """Of this start alone; None: whoever reaches the address may read, or `tokens` say who."""
    tokens: Tokens | None = None
    """Those of a service: who may look at all its runs may look here."""
    tls: bool = False

    @classmethod
    def new(cls, host: str, port: int, access: AccessConfig | None = None, *, auth: bool = True) -> "Door":
        """On loopback with a token of its own, or with none at all; with the tokens of a service where it has such.
        InvalidInput beyond loopback without TLS and tokens."""
        access = access or AccessConfig()
        check_host(host, access, "dashboard.host")
        tls = access.certificate is not None
        if not auth:
            if not is_loopback(host):
                raise InvalidInput(f"--no-auth is for loopback, and the dashboard is to listen at {host}")
            return cls(host, port, None, tls=tls)
        if access.tokens is not None:
            return cls(host, port, None, Tokens(access.tokens), tls)
        return cls(host, port, secrets.token_urlsafe(24), tls=tls)

    @property
    def url(self) -> str:
        """What a person opens: the token is in the fragment, which no browser sends or logs."""
        scheme = "https" if self.tls else "http"
        return f"{scheme}://{join(self.host, self.port)}/{f'#token={self.token}' if self.token else ''}"

    def is_us(self, host: str) -> bool:
        """Whether a value of Host means us. On loopback another is a foreign name that was made to lead here; beyond,
        where a server has names that it does not know, the certificate says that to browsers."""
        if not is_loopback(self.host):
            return True
        names = {join(self.host, self.port), *(f"{name}:{self.port}" for name in ("127.0.0.1", "localhost", "[::1]"))}
        return host in names

    def refusal(self, path: str, raw_path: bytes, headers: Mapping[str, str]) -> tuple[int, str] | None:
        """Status and sentence for a request that is not let in; None for one that is."""
        host = headers.get("host", "")
        if not self.is_us(host):
            return 403, f"the dashboard is not at this host; open {self.url.partition('#')[0]}"
        origin = headers.get("origin")
        if origin is not None and not (origin.partition("://")[2] == host or self._is_here(origin)):
            return 403, "pages of another site may not ask the dashboard"
        if b"%2e" in raw_path.lower() or b"%2f" in raw_path.lower() or b"%5c" in raw_path.lower() or "\\" in path:
            return 404, "there is no such page"
        return self._unknown(headers.get("authorization", "")) if path.startswith(API) else None

    def _is_here(self, origin: str) -> bool:
        return is_loopback(self.host) and self.is_us(origin.partition("://")[2])

    def _unknown(self, authorization: str) -> tuple[int, str] | None:
        """Why who brings this may not read."""
        if self.tokens is not None:
            return refused_viewer(self.tokens, authorization, "this dashboard")
        kind, _, given = authorization.partition(" ")
        if self.token is None or (
            kind.lower() == "bearer" and secrets.compare_digest(given.encode(), self.token.encode())
        ):
            return None
        return 401, "the token is missing or of an earlier start: open the address that the dashboard printed"


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
