"""What policies of other distributions may import is a contract: a change here needs a line in CHANGELOG.md."""

import treeroll.policy
import treeroll.tree

TREE = [
    "BranchReason",
    "Decision",
    "Node",
    "NodeStatus",
    "Observation",
    "StopReason",
    "Tokens",
    "Tree",
    "apportion",
    "even",
    "path_name",
    "rng",
]
POLICY = [
    "MAX_TEMPERATURE_SCALE",
    "AdvantageEstimator",
    "Allocation",
    "BranchPolicy",
    "BudgetAllocator",
    "BudgetView",
    "CreditTree",
    "Delimiter",
    "Ended",
    "Expansion",
    "Growth",
    "HasTimeout",
    "LeafCount",
    "Limits",
    "ModelView",
    "Need",
    "Needs",
    "Outcome",
    "Params",
    "PlacementPolicy",
    "PrunePolicy",
    "RoutePolicy",
    "Routing",
    "Segment",
    "SegmentPolicy",
    "TaskView",
    "Verdict",
    "Why",
    "because",
    "within_leaves",
]


def test_the_public_names_of_tree_are_these():
    assert sorted(treeroll.tree.__all__) == sorted(TREE)


def test_the_public_names_of_policy_are_these():
    assert sorted(treeroll.policy.__all__) == sorted(POLICY)


def test_every_public_name_is_there():
    for package in (treeroll.tree, treeroll.policy):
        for name in package.__all__:
            assert hasattr(package, name)
