"""The life of a branch is a table."""

import pytest

from treeroll.core.model.branch import BRANCH_TABLE, Branch, BranchEvent, BranchState, Outcome
from treeroll.errors import BrokenInvariant
from treeroll.tree.node import BranchReason, Decision


def branch(state: BranchState) -> Branch:
    return Branch(1, 0, 5, 0, 0.0, 0, BranchReason.FORK, Decision.BOUNDARY, [9], state)


@pytest.mark.parametrize("state", list(BranchState))
@pytest.mark.parametrize("event", list(BranchEvent))
def test_every_pair_is_in_the_table_or_refused_by_name(state: BranchState, event: BranchEvent) -> None:
    subject = branch(state)
    if (state, event) in BRANCH_TABLE:
        outcome = subject.apply(event)
        assert (subject.state, outcome) == BRANCH_TABLE[state, event]
    else:
        with pytest.raises(BrokenInvariant, match=f"OneOutcomePerBranch.*{state}.*{event}"):
            subject.apply(event)


def test_a_grant_has_an_outcome_exactly_when_it_ends() -> None:
    served = (BranchState.RUNNING, BranchState.STOPPING)
    for (before, _), (after, outcome) in BRANCH_TABLE.items():
        assert (outcome is not None) == (before in served and after not in served)
        assert outcome is None or isinstance(outcome, Outcome)
