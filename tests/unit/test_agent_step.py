"""How many calls a path of agent steps may make, and what it is told about them."""

import re

import pytest

from treeroll.errors import InvalidInput
from treeroll.policies import registry
from treeroll.policies.segment.turns import turn_caps
from treeroll.policy.base import Limits
from treeroll.simulation.world import World
from treeroll.tree.node import NodeStatus

LIMITS = Limits(leaves=8, segment_tokens=32, max_depth=6, max_tokens=400)
TEXT = "{used} used, {left} left: {regime}"


def step(limits=LIMITS, **params):
    return registry.build("segment", "agent_step", params, limits)


def refusal(**params):
    with pytest.raises(InvalidInput) as refused:
        step(**params)
    return str(refused.value)


def test_a_path_has_a_step_for_each_call_of_cap_and_extension_and_one_for_its_answer():
    assert step().boundaries(10, 32, 1000) == [410] * 6
    assert step(turn_cap=2).boundaries(10, 32, 1000) == [410] * 3
    assert step(turn_cap=2, turn_extension=3).boundaries(10, 32, 1000) == [410] * 6


def test_a_path_is_told_of_its_cap_and_after_that_of_the_extension():
    policy = step(turn_cap=3, turn_extension=2, budget_text=TEXT)
    assert [policy.remark(calls) for calls in range(1, 6)] == [
        "1 used, 2 left: MEDIUM\n",
        "2 used, 1 left: MEDIUM\n",
        "3 used, 0 left: LOW\n",
        "4 used, 1 left: LOW\n",
        "5 used, 0 left: LOW\n",
    ]
    assert step(budget_text=TEXT).remark(1) == "1 used, 4 left: HIGH\n"  # without a cap: of max_depth - 1
    assert step(budget_text=TEXT, high=0.9, medium=0.5).remark(2) == "2 used, 3 left: MEDIUM\n"
    assert step().remark(1) == ""


def test_regimes_begin_at_their_share():
    policy = step(limits=Limits(8, 32, 11, 400), budget_text="{regime}")
    told = [policy.remark(calls).strip() for calls in range(1, 11)]
    assert told == ["HIGH"] * 3 + ["MEDIUM"] * 4 + ["LOW"] * 3


def test_what_is_inserted_names_every_character_that_a_remark_may_have():
    policy = step(budget_text=TEXT)
    said = set("".join(policy.remark(calls) for calls in range(1, 6)))
    assert said | set("0123456789") <= set("".join(policy.needs.inserts))
    assert step().needs.inserts == ()


@pytest.mark.parametrize(
    ("params", "said"),
    [
        (
            {"turn_cap": 4, "turn_extension": 2},
            "turn_cap 4 and turn_extension 2 allow 6 calls, max_depth 6 allows 5 and",
        ),
        ({"turn_extension": 2}, "turn_extension 2 extends turn_cap, which is none; set turn_cap"),
        ({"budget_text": "{rest} left"}, "has a field {rest}; there is {used}, {left}, {regime}"),
        ({"budget_text": "{left:>9}"}, "has a field {left}"),
        ({"budget_text": "{left.real}"}, "has a field {left.real}"),
        ({"budget_text": "{left"}, "is no template"),
        ({"budget_text": "a\nb"}, "must be one line"),
        ({"budget_text": "<{left}>"}, "contains '>', which ends a call of tool 'calculator'"),
        ({"budget_text": "x", "high": 0.2}, "medium 0.3 is above high 0.2"),
    ],
)
def test_what_cannot_work_is_refused_in_one_sentence(params, said):
    assert said in refusal(**params)


@pytest.mark.parametrize(("cap", "extension"), [(1, 0), (2, 0), (1, 1)])
def test_no_path_calls_more_often_and_every_last_answer_is_followed_by_a_step(cap, extension):
    overrides = {"segment": {"name": "agent_step", "turn_cap": cap, "turn_extension": extension}}
    world = World(seed=3, recipe="flat", limits=LIMITS, overrides=overrides, end_share=0.003)
    spent = 0
    for live in world.run().values():
        parents = {node.parent for node in live.tree.nodes[1:]}
        for node in live.tree.nodes[1:]:
            calls = sum(step.observation is not None for step in live.tree.lineage(node.number))
            assert calls <= cap + extension
            if node.observation is not None:
                spent += calls == cap + extension
                assert (node.status, node.number in parents) == (NodeStatus.INNER, True)
    assert spent > 10


def test_remarks_are_part_of_the_observation():
    def told(text):
        world = World(seed=3, recipe="flat", limits=LIMITS, overrides={"segment": {"name": "agent_step", **text}})
        return [
            (node.depth, node.observation.ids)
            for live in world.run().values()
            for node in live.tree.nodes
            if node.observation is not None and node.depth == 1
        ]

    assert len(told({})) > 10
    assert told({"budget_text": TEXT}) == told({"budget_text": TEXT})
    assert told({"budget_text": TEXT}) != told({})


@pytest.mark.parametrize(
    ("turns", "caps"),
    [
        ([3], (3, 1)),
        ([1, 2, 3, 4], (2, 1)),
        ([8, 1, 2, 4], (2, 2)),
        ([0, 0, 0, 9], (1, 1)),
        ([5] * 100, (5, 1)),
        (range(1, 101), (50, 25)),
    ],
)
def test_caps_are_the_median_and_what_the_third_quartile_has_more(turns, caps):
    assert turn_caps(list(turns)) == caps
    assert turn_caps(list(reversed(turns))) == caps


def test_caps_of_no_path_are_refused():
    with pytest.raises(InvalidInput, match=re.escape("turn caps need the calls of at least one path")):
        turn_caps([])
