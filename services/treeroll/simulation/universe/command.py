"""Simulate worlds by the hundred, and show the first that break a promise. See `scripts/simulate --help`."""

import argparse
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import timedelta
from multiprocessing import get_context

from treeroll import clock
from treeroll.simulation.universe.search import Outcome, case_of, shrink, simulate

TRACE_LINES = 40
MOST_SHOWN = 3
NOTED_EVERY_S = 5.0


def main(arguments: Sequence[str] | None = None) -> int:
    """0 if every promise was kept, 1 if one was broken, 130 after Ctrl-C."""
    logging.disable(logging.CRITICAL)  # coordinators warn of every fault
    options = _options(arguments)
    if options.seed is not None:
        return _one(options.seed, options.shrink)
    return _many(range(options.first_seed, options.first_seed + options.seeds), options.jobs, options.shrink)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/simulate", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many worlds (default: 1000)")
    parser.add_argument("--first-seed", type=int, default=0, help="where to begin, or to go on (default: 0)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: one for each core)")
    parser.add_argument("--seed", type=int, help="one world: what happens in it, line by line")
    parser.add_argument("--shrink", action="store_true", help="look for a smaller world with the same broken promise")
    return parser.parse_args(arguments)


def _one(seed: int, wanted: bool) -> int:
    outcome = simulate(case_of(seed))
    print("\n".join(outcome.trace))
    print(f"seed {seed}: {outcome.case.told}")
    print(f"{outcome.steps:,} events, {outcome.lives} coordinators, trace {outcome.digest}")
    if not outcome.broken:
        print("every promise was kept")
        return 0
    _show(outcome, wanted)
    return 1


def _many(seeds: range, jobs: int, wanted: bool) -> int:
    began, done, events, broken = clock.monotonic(), 0, 0, list[int]()
    noted_at = began
    try:
        for seed, steps, kept in _outcomes(seeds, jobs):
            done, events = done + 1, events + steps
            if not kept:
                broken.append(seed)
                if len(broken) <= MOST_SHOWN:
                    _show(simulate(case_of(seed)), wanted)
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
        yield from map(_simulated, seeds)
        return
    with get_context("spawn").Pool(min(jobs, len(seeds)), _begin) as pool:
        yield from pool.imap(_simulated, seeds, chunksize=4)


def _begin() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends us
    logging.disable(logging.CRITICAL)


def _simulated(seed: int) -> tuple[int, int, bool]:
    outcome = simulate(case_of(seed))
    return seed, outcome.steps, not outcome.broken


def _show(outcome: Outcome, wanted: bool) -> None:
    """All that is needed to see it again."""
    seed = outcome.case.seed
    print(f"\nseed {seed} breaks a promise at event {outcome.steps:,}: {outcome.broken[0]}")
    print(f"  {outcome.case.told}")
    if wanted:
        for smaller in shrink(outcome):
            outcome = smaller
            print(f"  smaller: {outcome.case.told}: {outcome.steps:,} events", flush=True)
    print("\n".join(f"  {line}" for line in outcome.trace[-TRACE_LINES:]))
    print(f"  commit {_commit()}; again: scripts/simulate --seed {seed}; the smallest such world: --shrink")


def _commit() -> str:
    try:
        found = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)  # noqa: S607
    except OSError:
        return "unknown"
    return found.stdout.strip() or "unknown"


if __name__ == "__main__":
    sys.exit(main())
