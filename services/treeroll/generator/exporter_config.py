"""Settings of what each replica tells Prometheus."""

from pathlib import Path

from pydantic import Field, model_validator

from treeroll.addresses import is_loopback
from treeroll.config import Config


class ExporterConfig(Config):
    """Metrics of each replica, from itself: its own, and its engine's where that is vLLM. See docs/metrics.md."""

    host: str = "127.0.0.1"
    """Where it answers. Beyond loopback only with TLS and tokens, in files that its node has."""
    port: int | None = Field(default=None, ge=0, le=65535)
    """0: any free one, as several replicas on one host need; `treeroll status` says which. None: nowhere."""
    tokens: Path | None = None
    """Token file, as access.tokens: those of roles viewer and operator may ask. None: whoever reaches the port may."""
    certificate: Path | None = None
    """Its certificate with what signed it, PEM. Read again when it or the key changes; None: no TLS."""
    key: Path | None = None
    """The certificate's private key, PEM, without a password."""

    @model_validator(mode="after")
    def _is_for_loopback_or_secured(self) -> "ExporterConfig":
        if (self.certificate is None) != (self.key is None):
            raise ValueError(
                f"metrics.certificate is {self.certificate} and metrics.key is {self.key}; set both or none"
            )
        given = {"TLS (certificate, key)": self.certificate, "tokens": self.tokens}
        missing = [what for what, file in given.items() if file is None]
        if self.port is not None and missing and not is_loopback(self.host):
            raise ValueError(f"metrics.host is {self.host}, and without {' and '.join(missing)} it must be of loopback")
        return self
