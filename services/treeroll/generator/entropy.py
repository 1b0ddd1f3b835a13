"""Per-token entropy estimates from the top logprobs, since engines do not return entropies."""

from collections.abc import Sequence

import numpy as np


def estimate_entropies(logprobs: Sequence[float], starts: Sequence[int], vocabulary: int) -> list[float]:
    """One estimate per token, in nats, float64.

    `logprobs` holds the known logprobs of all tokens back to back (each id once per token); token i's begin at
    `starts[i]`. With m known ids of total probability 1 - r, the estimate is -sum p log p - r log(r / (V - m)): the
    rest is taken as spread evenly over the other ids. No other spread has more entropy, so this is an upper bound, and
    exact when r is 0. Nan where a logprob is.
    """
    if not starts:
        return []
    known = np.asarray(logprobs, np.float64)
    p = np.exp(known)
    terms = np.where(p == 0.0, 0.0, -p * np.where(p == 0.0, 0.0, known))
    at = np.asarray(starts)
    counts = np.diff(np.append(at, len(known)))
    rest = np.clip(1.0 - np.add.reduceat(p, at), 0.0, 1.0)
    others = np.maximum(vocabulary - counts, 1)
    tail = np.where(rest <= 1e-9, 0.0, -rest * np.log(np.maximum(rest, 1e-12) / others))
    result: list[float] = np.maximum(np.add.reduceat(terms, at) + tail, 0.0).tolist()
    return result
