"""How often a replica may fail before it is given up."""

from dataclasses import dataclass

# A replica is given up after so many starts in a row that failed, or so many lives in a row that were shorter than this
# once it was ready: more, because tasks that engines die of are found by the replicas that they kill.
SHORT_LIFE_S = 30.0
MAX_FAILED_STARTS, MAX_SHORT_LIVES = 3, 10
FIRST_BACKOFF_S, MAX_BACKOFF_S = 0.5, 30.0


@dataclass(slots=True)
class Failures:
    """Consecutive failures of one replica to start, or to live for long."""

    count: int = 0
    starts: int = 0  # the latest of them that were failures to start
    first_cause: str = ""

    def add(self, cause: str, started: bool) -> None:
        """One more, of a life that was ready, or not even that."""
        self.first_cause = self.first_cause or cause
        self.count += 1
        self.starts = 0 if started else self.starts + 1

    @property
    def too_many(self) -> bool:
        """Whether it is given up."""
        return self.starts >= MAX_FAILED_STARTS or self.count >= MAX_SHORT_LIVES

    @property
    def backoff_s(self) -> float:
        """How long it is waited before it is started again, seconds."""
        return min(MAX_BACKOFF_S, FIRST_BACKOFF_S * 2.0 ** max(0, self.count - 1))
