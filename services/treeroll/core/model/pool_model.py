"""What a pool serves: the model of its first replica, against which others are held as long as runs grow with it."""

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class PoolModel:
    """A replica's model as it was started with, whatever weights were published since.

    `digest` is "" of an engine without a model's directory. `engine` is its kind, "vllm" or "simulated", whose tokens
    no model has made. `context` is the longest path in tokens. The rest is for people: where the model lies, and which
    replica said so.
    """

    digest: str = ""
    engine: str = ""
    context: int = 0
    path: str = ""
    replica_id: str = ""
    host: str = ""

    def is_same(self, other: "PoolModel") -> bool:
        """Whether tokens of either are of one distribution."""
        return (self.digest, self.engine) == (other.digest, other.engine)

    def holds(self, other: "PoolModel") -> bool:
        """Whether whatever has begun with this can go on with the other."""
        return self.is_same(other) and self.context <= other.context

    def and_longer(self, other: "PoolModel") -> "PoolModel":
        """The same with the longest path of both."""
        return replace(self, context=max(self.context, other.context))

    def told(self, beside: "PoolModel") -> str:
        """What it is, for people, where the other is named as well."""
        engine = f" on engine {self.engine or 'unknown'}" if self.engine != beside.engine else ""
        return f"{self.path or 'a model'} with digest {self.digest or 'unknown'}{engine}"


UNKNOWN = PoolModel()
