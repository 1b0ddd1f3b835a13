"""The promises that are checked by name: in the core after every step of tests, on a store, and on a directory."""

from enum import StrEnum


class Invariant(StrEnum):
    """A named promise. Its value is what audits print and what `ServiceStatus.violations` counts by."""

    ONE_OUTCOME_PER_BRANCH = "OneOutcomePerBranch"
    """Every branch that was started ends in exactly one outcome."""
    NO_ACKED_LOSS = "NoAckedLoss"
    """What was acknowledged to a replica, a trainer or a client is there."""
    TOKENS_CONSERVED = "TokensConserved"
    """granted = spent + returned + outstanding, per tree and run, and no cap is exceeded but by what is declared."""
    FORK_BLIND = "ForkBlind"
    """Which branches a complete tree gets depends on seed, policy and tokens, never on time, place or load."""
    TREE_WELL_FORMED = "TreeWellFormed"
    """Parents before children, and a path's tokens are exactly those that the engine saw."""
    REWARD_ONCE = "RewardOnce"
    """One effective reward per node, scorer and version."""
    DELIVERED_ONCE_ACKED = "DeliveredOnceAcked"
    """Every task has one terminal event, which comes to every group until that acknowledges it, and not again."""
    STALENESS_BOUND = "StalenessBound"
    """Nothing older than the run's limit is delivered to be trained on; no replica works on weights not in force."""
    BOUNDED = "Bounded"
    """Queues, slots and counts stay within what they are bounded by, and are counted right."""


Finding = tuple[Invariant, str]
"""A broken promise, and one sentence of where and how."""
