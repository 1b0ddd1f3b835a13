"""What runs may name as scorers: modules that are imported here, servers that are asked from here, and for how long."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from treeroll.config import ScorersConfig
from treeroll.errors import InvalidInput

LONGEST_S, LONGEST_OF_STRANGERS_S = 3600.0, 60.0


@dataclass(frozen=True, slots=True)
class ScorerRules:
    """What an operator allows. None: anything, for who creates runs may do everything on this machine as it is."""

    modules: tuple[str, ...] | None = None
    """MODULE, with all that is in it and below it, or MODULE:FUNCTION."""
    origins: tuple[str, ...] | None = None
    """Servers, http[s]://HOST[:PORT]."""
    longest_s: float = LONGEST_S
    """Seconds that a scorer may take for one path."""

    @classmethod
    def of(cls, config: ScorersConfig, *, strangers: bool) -> "ScorerRules":
        """Those of a service; where `strangers` create runs, nothing is allowed that is not named."""
        nothing = () if strangers else None
        longest_s = LONGEST_OF_STRANGERS_S if strangers else LONGEST_S
        return cls(
            nothing if config.python_modules is None else config.python_modules,
            nothing if config.http_origins is None else tuple(map(origin_of, config.http_origins)),
            longest_s if config.longest_s is None else config.longest_s,
        )

    def check_module(self, scorer: str, module: str, attribute: str = "") -> None:
        """InvalidInput for a scorer of a module, or of something in it, that is not allowed."""
        if self.modules is None or f"{module}:{attribute}" in self.modules:
            return
        # With dots it would be what the module has imported, such as `subprocess.call`.
        if "." not in attribute and any(module == name or module.startswith(f"{name}.") for name in self.modules):
            return
        self._refuse(scorer, "module", self.modules, "scorers.python_modules")

    def check_origin(self, url: str) -> None:
        """InvalidInput for a server that is not allowed, or a URL that is none."""
        if self.origins is not None and origin_of(url) not in self.origins:
            self._refuse(url, "server", self.origins, "scorers.http_origins")

    def check_timeout(self, timeout_s: float) -> None:
        """InvalidInput for one that is longer than a scorer may keep a worker."""
        if timeout_s > self.longest_s:
            raise InvalidInput(f"scorer_timeout_s is {timeout_s:g}, and this service allows {self.longest_s:g} at most")

    @staticmethod
    def _refuse(scorer: str, what: str, allowed: tuple[str, ...], setting: str) -> None:
        listed = ", ".join(sorted(allowed)) or "none"
        raise InvalidInput(
            f"scorer '{scorer[:200]}': this service does not allow the {what}; allowed are: {listed} (its operator "
            f"sets {setting})"
        )


ANYTHING = ScorerRules()


def origin_of(url: str) -> str:
    """Scheme, host and port of a URL, written in one way. InvalidInput if it is none of a server."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidInput(f"scorer '{url[:200]}' must be of the form http://HOST[:PORT]/PATH")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}:{port or {'http': 80, 'https': 443}[parts.scheme]}"
