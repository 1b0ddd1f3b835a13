"""Simulate worlds by the hundred, and show the first that break a promise. See `scripts/simulate --help`."""

import argparse
import gc
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from multiprocessing import get_context
from pathlib import Path

from treeroll import clock
from treeroll.errors import InvalidInput
from treeroll.simulation.universe.kept import keep, read
from treeroll.simulation.universe.search import Case, Outcome, case_of, shrink, simulate

KEPT = Path("runs/simulate")
TRACE_LINES = 40
MOST_SHOWN = 3
NOTED_EVERY_S = 5.0
# Worlds that are gone before memory is collected.
COLLECT_EVERY = 8


def main(arguments: Sequence[str] | None = None) -> int:
    """0 if every promise was kept, 1 if one was broken, 2 for a file that is no world, 130 after Ctrl-C."""
    logging.disable(logging.CRITICAL)  # coordinators warn of every fault
    options = _options(arguments)
    shown = Shown(options.keep, options.shrink)
    if options.seed is None and options.case is None:
        return _many(range(options.first_seed, options.first_seed + options.seeds), options.jobs, shown)
    try:
        outcome = _again(options.case, shown) if options.case else _one(case_of(options.seed), shown)
    except InvalidInput as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 1 if outcome.broken else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/simulate", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many worlds (default: 1000)")
    parser.add_argument("--first-seed", type=int, default=0, help="where to begin, or to go on (default: 0)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: one for each core)")
    parser.add_argument("--seed", type=int, help="one world: what happens in it, line by line")
    parser.add_argument("--case", type=Path, metavar="FILE", help="one world that was kept, in the same way")
    parser.add_argument(
        "--keep", type=Path, default=KEPT, metavar="DIR", help=f"where broken worlds are kept (default: {KEPT})"
    )
    parser.add_argument("--shrink", action="store_true", help="look for a smaller world with the same broken promise")
    return parser.parse_args(arguments)


def _one(case: Case, shown: "Shown", kept_at: Path | None = None) -> Outcome:
    outcome = simulate(case)
    print("\n".join(outcome.trace))
    print(f"seed {case.seed}: {case.told}")
    print(f"{outcome.steps:,} events, {outcome.lives} coordinators, trace {outcome.digest}")
    if outcome.broken:
        shown.show(outcome, kept_at)
    else:
        print("every promise was kept")
    return outcome


def _again(path: Path, shown: "Shown") -> Outcome:
    kept = read(path)
    outcome = _one(kept.case, shown, path)
    if outcome.digest != kept.digest:
        print(f"with the code of commit {kept.commit} it was trace {kept.digest}, and broke {kept.broken}")
    return outcome


def _many(seeds: range, jobs: int, shown: "Shown") -> int:
    began, done, events, broken = clock.monotonic(), 0, 0, list[int]()
    noted_at = began
    try:
        for seed, steps, kept in _outcomes(seeds, jobs):
            done, events = done + 1, events + steps
            if not kept:
                broken.append(seed)
                shown.show(simulate(case_of(seed)), briefly=len(broken) > MOST_SHOWN)
            if (now := clock.monotonic()) > noted_at + NOTED_EVERY_S:
                noted_at = now
                print(_progress(done, len(seeds), len(broken), now - began), file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        left, go_on = len(seeds) - done, seeds.start + done
        print(f"interrupted; go on with --first-seed {go_on} --seeds {left}", file=sys.stderr)
        return 130
    finally:  # also of what was done before Ctrl-C
        took_s = clock.monotonic() - began
        print(
            f"{done:,} worlds from seed {seeds.start} on, {events:,} events in {took_s:.1f} s "
            f"({done / took_s:.1f} seeds/s): {len(broken)} broken promises"
        )
        if broken:
            print(f"seeds with a broken promise: {', '.join(map(str, broken))}")
    return 1 if broken else 0


def _progress(done: int, seeds: int, broken: int, took_s: float) -> str:
    rate = done / took_s
    left = timedelta(seconds=round((seeds - done) / rate))
    return f"{done:,} of {seeds:,} worlds, {broken} broken; {rate:.1f} seeds/s, {left} to go"


def _outcomes(seeds: range, jobs: int) -> Iterator[tuple[int, int, bool]]:
    """Seed, events, and whether every promise was kept, in the order of seeds, so that one who stops can go on."""
    if jobs == 1:
        _collect_seldom()
        yield from map(_simulated, seeds)
        return
    with get_context("spawn").Pool(min(jobs, len(seeds)), _begin) as pool:
        yield from pool.imap(_simulated, seeds, chunksize=4)


def _begin() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends us
    logging.disable(logging.CRITICAL)
    _collect_seldom()


def _collect_seldom() -> None:
    """What a world leaves behind, in cycles, is small; the collector would look through it while it is in use."""
    gc.freeze()
    gc.disable()


def _simulated(seed: int) -> tuple[int, int, bool]:
    outcome = simulate(case_of(seed))
    if not seed % COLLECT_EVERY:
        gc.collect()
    return seed, outcome.steps, not outcome.broken


@dataclass(frozen=True)
class Shown:
    """How broken worlds are shown, with all that is needed to see them again."""

    keep: Path
    shrink: bool

    def show(self, outcome: Outcome, kept_at: Path | None = None, *, briefly: bool = False) -> None:
        """Print how it ended, and keep it, unless it is kept; `briefly`: without its trace, and none smaller."""
        seed = outcome.case.seed
        print(f"\nseed {seed} breaks a promise at event {outcome.steps:,}: {outcome.broken[0]}")
        print(f"  {outcome.case.told}")
        path = kept_at or self._kept(outcome, f"{seed}.json")
        if self.shrink and not briefly:
            for smaller in shrink(outcome):
                outcome, path = smaller, self._kept(smaller, f"{seed}-small.json")
                print(f"  smaller: {outcome.case.told}: {outcome.steps:,} events", flush=True)
        if not briefly:
            print("\n".join(f"  {line}" for line in outcome.trace[-TRACE_LINES:]))
        print(f"  commit {_commit()}; again: scripts/simulate --case {path}; the smallest such world: --shrink")

    def _kept(self, outcome: Outcome, name: str) -> Path:
        path = self.keep / name
        keep(outcome, _commit(), path)
        return path


@cache
def _commit() -> str:
    try:
        found = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)  # noqa: S607
    except OSError:
        return "unknown"
    return found.stdout.strip() or "unknown"


if __name__ == "__main__":
    sys.exit(main())
