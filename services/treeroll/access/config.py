"""Settings of who may reach a service."""

from pathlib import Path

from pydantic import Field, model_validator

from treeroll.addresses import is_loopback
from treeroll.config import Config
from treeroll.errors import InvalidInput


class AccessConfig(Config):
    """Who may reach the service: beyond loopback with TLS and tokens only. See docs/operating.md."""

    tokens: Path | None = None
    """Token file: who may do what. Read again when it changes; None: whoever reaches the port may do everything."""
    certificate: Path | None = None
    """The server's certificate with what signed it, PEM. Read again when it or the key changes; None: no TLS."""
    key: Path | None = None
    """The certificate's private key, PEM, without a password."""
    ca: Path | None = None
    """Roots by which the service's own replicas know its certificate, PEM; None: those of the system."""

    calls: int = Field(default=256, ge=1, le=1_000_000)
    """Calls that one name of the token file may have under way at once; three quarters of them may wait for trees."""
    calls_per_s: int = Field(default=2_000, ge=1, le=1_000_000)
    """Calls that one name may begin in a second."""

    @model_validator(mode="after")
    def _a_certificate_has_a_key(self) -> "AccessConfig":
        if (self.certificate is None) != (self.key is None):
            raise ValueError(f"certificate is {self.certificate} and key is {self.key}; set both or none")
        if self.ca is not None and self.certificate is None:
            raise ValueError(f"ca is {self.ca}, but there is no certificate to know by it; set certificate and key")
        return self


def check_host(host: str, access: AccessConfig, setting: str = "coordinator.host") -> None:
    """InvalidInput for an address beyond loopback without TLS and tokens, which was given as `setting`."""
    missing = [
        what for what, there in (("TLS", access.certificate), ("tokens", access.tokens)) if there is None
    ]  # fmt: skip
    if missing and not is_loopback(host):
        raise InvalidInput(
            f"{setting} is {host}, and without {' and '.join(missing)} treeroll serves loopback only; make "
            "certificates with `treeroll certs` and tokens with `treeroll token make`, and set access.certificate, "
            "access.key, access.ca and access.tokens to them"
        )
