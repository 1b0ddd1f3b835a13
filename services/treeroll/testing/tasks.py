"""Tasks, budgets and outcomes at which policies across tasks are tried."""

from typing import Final

from treeroll.policy.allocate import Outcome

TEXTS: Final = ("", "2 + 2 =", "word " * 3000, "\x00\ud800")
# Successes of scored leaves: none yet, extremes, decayed counts, and more than all by what rounding does to them.
HISTORIES: Final = ((0.0, 0.0), (0.0, 16.0), (16.0, 16.0), (1.0, 16.0), (0.3, 0.9), (5e-324, 1e-9), (0.8, 0.79999999))
# Overdrawn, nothing, next to nothing, plenty, no limit.
TOKENS: Final = (-5, 0, 1, 10**6, 10**15, None)
SECONDS: Final = (-1.0, 0.0, 1e-3, 600.0, None)
# Trees without a scored leaf, without a token, of every kind of success.
OUTCOMES: Final = (Outcome(0, 0, 0, 0.0), Outcome(0, 8, 900, 2.0), Outcome(8, 8, 80, 1e-6), Outcome(3, 4, 10**9, 1e6))
