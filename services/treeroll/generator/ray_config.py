"""Settings of the Ray that replicas run on, and what the environment says of it."""

from collections.abc import Mapping
from pathlib import Path

from pydantic import Field, field_validator

from treeroll.addresses import split
from treeroll.config import Config
from treeroll.errors import InvalidInput, Unavailable

LOCAL, AUTO = "local", "auto"
ADDRESS_VARIABLE = "RAY_ADDRESS"


class HeadGone(Unavailable):
    """The head of a Ray cluster does not answer any more. Ray ends this process soon after, and does not let it end."""


class RayConfig(Config):
    """The Ray that replicas run on: one of their own on this machine, or a cluster that is there."""

    address: str | None = None
    """HOST:PORT of the head of the cluster to join, or `auto`: the one that RAY_ADDRESS or this host's own Ray node
    names. `local`, and None where RAY_ADDRESS is not set: a private Ray, which goes with what started it."""
    namespace: str = Field(default="treeroll", min_length=1)
    """Ray namespace of what is started in a cluster."""
    alone_s: float = Field(default=300.0, ge=0.0, le=86_400.0)
    """How long replicas in a cluster work on after their fleet was killed, seconds: one that is started again by then
    keeps them. 0: they end with it."""

    @field_validator("address")
    @classmethod
    def _can_be_joined(cls, address: str | None) -> str | None:
        if address is not None and address.startswith("ray://"):
            raise ValueError(
                "is of Ray Client, which ends what it started when it is away for half a minute: give the head's "
                "HOST:PORT on a host with a Ray node, or run `treeroll fleet` as a Ray job"
            )
        if address not in (None, LOCAL, AUTO):
            try:
                split(str(address))
            except InvalidInput as error:
                raise ValueError(f"should be HOST:PORT, 'auto' or 'local' ({error})") from None
        return address

    @property
    def private(self) -> bool:
        """Whether it is one of its own."""
        return self.address in (None, LOCAL)

    def check(self, environment: Mapping[str, str]) -> None:
        """InvalidInput where nobody said whether to join the cluster that the environment is of."""
        named = environment.get(ADDRESS_VARIABLE)
        if named and self.address is None:
            raise InvalidInput(
                f"{ADDRESS_VARIABLE} is {named}, and ray.address says nothing: set ray.address (--ray-address) to "
                f"'{AUTO}' to join that cluster, or to '{LOCAL}' for a private Ray beside it"
            )


def has_token(env: Mapping[str, str]) -> bool:
    """Whether Ray finds a token in one of the places where it looks for one."""
    named = env.get("RAY_AUTH_TOKEN") or env.get("RAY_AUTH_TOKEN_PATH")
    return bool(named) or Path("~/.ray/auth_token").expanduser().exists()
