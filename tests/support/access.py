"""Tokens and certificates of a service in tests."""

from pathlib import Path

from treeroll.access.certificates import make_certificates
from treeroll.access.config import AccessConfig
from treeroll.access.token_file import add, new_token, parse_line, sha256


class Credentials:
    """A directory with a service's tokens and, if wanted, its certificate."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.tokens = directory / "tokens"
        self.certs = directory / "certs"

    @property
    def ca(self) -> str:
        return str(self.certs / "ca.pem")

    def token(self, role: str, name: str, *options: str) -> str:
        """A new token, in the file."""
        token = new_token()
        add(self.tokens, parse_line([role, name, sha256(token), *options]))
        return token

    def certificate(self, *names: str) -> None:
        """Make one, or another one by the same root."""
        make_certificates(self.certs, names)

    def config(self, *, tls: bool = False, tokens: bool = True) -> AccessConfig:
        """What a service that has them is told."""
        if tls and not self.certs.exists():
            self.certificate()
        return AccessConfig(
            tokens=self.tokens if tokens else None,
            **{key: self.certs / f"{name}" for key, name in FILES.items()} if tls else {},
        )


FILES = {"certificate": "server.pem", "key": "server.key", "ca": "ca.pem"}


def bearer(token: str | None) -> tuple[tuple[str, str], ...]:
    """What goes with a call."""
    return () if token is None else (("authorization", f"Bearer {token}"),)
