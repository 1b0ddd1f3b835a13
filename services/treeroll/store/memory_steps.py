"""Global batches that ranks share, in memory. Pure."""

from dataclasses import dataclass, field

from treeroll.store.base import Step


@dataclass(slots=True)
class Taken:
    """A batch that was taken and is not acknowledged."""

    step: Step
    seqs: list[int]
    acked: set[int] = field(default_factory=set)  # ranks


@dataclass(slots=True)
class MemorySteps:
    """The global batches of one group."""

    through: int = 0  # all up to this one are acknowledged
    last: int = 0  # the last one taken
    out: dict[int, Taken] = field(default_factory=dict)
    done: set[int] = field(default_factory=set)  # acknowledged, after one that is not

    def first_of(self, rank: int, world: int) -> int:
        """The first batch that this rank has not acknowledged."""
        number = self.through + 1
        while number in self.done or self._has_acked(number, rank, world):
            number += 1
        return number

    def is_done(self, number: int) -> bool:
        """Whether all ranks have acknowledged it."""
        return number <= self.through or number in self.done

    def found(self, number: int) -> Step:
        """A batch as it is."""
        return self.out[number].step if number in self.out else Step(number)

    def take(self, step: Step, seqs: list[int]) -> None:
        """Take the next one."""
        self.out[step.number] = Taken(step, seqs)
        self.last = step.number

    def ack(self, number: int, rank: int) -> list[int] | None:
        """A rank is done; the batch's entries once all are."""
        taken = self.out[number]
        taken.acked.add(rank)
        if len(taken.acked) < taken.step.world:
            return None
        del self.out[number]
        self.done.add(number)
        while self.through + 1 in self.done:
            self.through += 1
            self.done.remove(self.through)
        return taken.seqs

    def _has_acked(self, number: int, rank: int, world: int) -> bool:
        taken = self.out.get(number)
        return taken is not None and taken.step.world == world and rank in taken.acked
