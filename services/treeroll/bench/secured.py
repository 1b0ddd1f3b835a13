"""TLS and tokens for a benchmark's own service, as one beyond loopback has them. They go with their directory."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from treeroll.access.certificates import make_certificates
from treeroll.access.config import AccessConfig
from treeroll.access.identity import Identity, Role
from treeroll.access.token_file import TokenLine, add, new_token, sha256
from treeroll.channels import Pass

CLIENT = "bench"


@dataclass(frozen=True, slots=True)
class Access:
    """What a service asks for, and by name what its callers show; by default nothing."""

    config: AccessConfig = field(default_factory=AccessConfig)
    passes: dict[str, Pass] = field(default_factory=dict)

    def shown_by(self, name: str) -> Pass:
        """What a client or a replica of this name shows."""
        return self.passes.get(name, Pass())


def make_access(directory: Path, replica_ids: Iterable[str]) -> Access:
    """A new root, a certificate for loopback, and tokens for CLIENT and for replicas of these names."""
    make_certificates(directory, [])
    tokens, roots = directory / "tokens", directory / "ca.pem"
    passes = {}
    for name in (CLIENT, *replica_ids):
        passes[name] = Pass(new_token(), tls=True, roots=str(roots))
        role = Role.CLIENT if name == CLIENT else Role.REPLICA
        add(tokens, TokenLine(Identity(name, role), sha256(passes[name].token)))
    config = AccessConfig(
        tokens=tokens, certificate=directory / "server.pem", key=directory / "server.key", ca=roots
    )  # fmt: skip
    return Access(config, passes)
