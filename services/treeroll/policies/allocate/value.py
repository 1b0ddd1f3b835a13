"""What the leaves of a task are worth to training, by its success rate: the value of Knapsack RL (arXiv 2509.25849)."""

import math


def value(leaves: int, rate: float) -> float:
    """P(the leaves neither all fail nor all succeed) x the rise in success rate that training on them promises.

    The latter is rate (1 - rate)^2, highest at 1/3. Concave in `leaves`; 0 for a rate of 0 or 1, and for one leaf.
    """
    return (1 - rate**leaves - (1 - rate) ** leaves) * promise(rate)


def gain(leaves: int, rate: float) -> float:
    """value(leaves + 1) - value(leaves), without the cancellation."""
    miss = 1 - rate
    return rate * miss * miss * (rate**leaves * miss + miss**leaves * rate)  # promise, written out: this is hot


def log_gain(leaves: int, rate: float) -> float:
    """Logarithm of the gain, which no number of leaves makes too small for a float; -inf for a rate of 0 or 1."""
    rarer = min(rate, 1 - rate)
    if rarer <= 0:
        return -math.inf
    larger = 2 * math.log1p(-rate) + math.log(rate) + math.log(rarer) + leaves * math.log1p(-rarer)
    return larger + math.log1p((rarer / (1 - rarer)) ** (leaves - 1))


def leaves_above(bar: float, rate: float, least: int, most: int) -> int:
    """Of `least` to `most` leaves the first number whose log_gain is not above the bar; `most` if there is none."""
    rarer = min(rate, 1 - rate)
    if rarer <= 0:
        return least
    # log_gain falls by as much with every leaf, but for its last term, which is above 0: so no fewer than these. From
    # two leaves on that term is worth one leaf at most, so what is looked for is near.
    step, highest = -math.log1p(-rarer), 2 * math.log1p(-rate) + math.log(rate) + math.log(rarer)
    # Logarithms are rounded, and where steps are tiny that is worth many leaves.
    rounding = 1e-13 * (abs(highest) + abs(bar))
    leaves = math.ceil(min(most, max(least, (highest - bar - rounding) / step - 1e-6)))
    while leaves < most and log_gain(leaves, rate) > bar:
        leaves += 1
    return leaves


def promise(rate: float) -> float:
    """Expected rise in success rate, to first order."""
    return rate * (1 - rate) ** 2


def enough(rate: float, confidence: float) -> float:
    """Leaves with which the rarer outcome is seen with this confidence; the rate is neither 0 nor 1."""
    return math.log1p(-confidence) / math.log1p(-rate if rate < 0.5 else rate - 1)
