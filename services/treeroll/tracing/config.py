"""Settings of traces."""

from pydantic import Field, field_validator

from treeroll.config import Config


class TracingConfig(Config):
    """Traces of some trees, for OpenTelemetry. Needs the extra `otel`. See docs/tracing.md."""

    endpoint: str | None = None
    """OTLP collector, as http://HOST:4317, or https:// for TLS. None: nothing is traced. gRPC, unless
    OTEL_EXPORTER_OTLP_TRACES_PROTOCOL is `http/protobuf`: then with its path, http://HOST:4318/v1/traces."""
    ratio: float = Field(default=0.01, ge=0.0, le=1.0)
    """Share of trees that are traced. Those that end failed or partial are, in any case; 0: none at all."""

    @field_validator("endpoint")
    @classmethod
    def _is_a_url(cls, endpoint: str | None) -> str | None:
        if endpoint is not None and not endpoint.startswith(("http://", "https://")):
            raise ValueError(f"is {endpoint!r}: it must be a URL, such as http://collector:4317")
        return endpoint
