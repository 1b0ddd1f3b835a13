"""What many kills of the coordinator came to, in figures beside what is promised of them."""

from collections import Counter
from collections.abc import Sequence
from statistics import median, quantiles

from treeroll.chaos.kills import Death
from treeroll.chaos.ordeal import Outcome

# Seconds from the kill until tokens are durable again, at most: half of those that are started again, all takeovers.
RECOVERY_S, TAKEOVER_S = 5.0, 8.0
COLUMNS = ("tokens again", ">kills", ">median s", ">p90 s", ">longest s", ">cut short", "promised", "verdict")
PLACES = ("died at", ">times")
TOKENS = ("what it cost", ">")


def recoveries(deaths: Sequence[Death]) -> list[list[str]]:
    """A line for those that were started again, and one for takeovers. Cut short: the next one died before that."""
    lines = []
    for what, taken_over, promised_s in (("started again", False, RECOVERY_S), ("taken over", True, TAKEOVER_S)):
        some = [death for death in deaths if death.taken_over is taken_over]
        if not some:
            continue
        seconds = sorted(death.recovered_s for death in some if death.recovered_s is not None)
        figures = ["-", "-", "-"]
        verdict = "unknown"
        if seconds:
            worst = seconds[-1] if taken_over else median(seconds)
            verdict = "kept" if worst <= promised_s else f"{worst:.2f} s"
            figures = [f"{figure:.2f}" for figure in (median(seconds), _p90(seconds), seconds[-1])]
        promise = f"{'all' if taken_over else 'median'} <= {promised_s:g} s"
        lines.append([what, str(len(some)), *figures, str(len(some) - len(seconds)), promise, verdict])
    return lines


def places(deaths: Sequence[Death]) -> list[list[str]]:
    """How often it died where."""
    return [[place, str(times)] for place, times in sorted(Counter(death.failpoint for death in deaths).items())]


def tokens(outcomes: Sequence[Outcome]) -> list[list[str]]:
    """What engines decoded, by their own count, and what of it is in trees."""
    decoded, spent = sum(outcome.decoded for outcome in outcomes), sum(outcome.spent for outcome in outcomes)
    again = decoded - spent
    share = f" ({again / spent:.1%})" if spent else ""
    return [
        ["tokens decoded, as engines count them", str(decoded)],
        ["tokens spent, in the accounts of runs and trees", str(spent)],
        ["tokens decoded again, or for nothing", f"{again}{share}"],
        ["branches granted again", str(sum(outcome.regrants for outcome in outcomes))],
        ["engines started anew", str(sum(outcome.lives for outcome in outcomes))],
    ]


def _p90(seconds: Sequence[float]) -> float:
    return quantiles(seconds, n=10, method="inclusive")[-1] if len(seconds) > 1 else seconds[0]
