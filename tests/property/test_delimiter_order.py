"""ForkBlind where content ends segments: whatever the delimiters, the fleet and the order, the trees are the same."""

from hypothesis import given, settings
from hypothesis import strategies as st

from treeroll.simulation.world import World, fingerprint

delimiters = st.fixed_dictionaries({
    "name": st.just("delimiter"),
    "texts": st.lists(st.sampled_from(["1", "7 2", "9 ", " 3", "33 3"]), max_size=2),
    "token_ids": st.lists(st.integers(2, 51), min_size=1, max_size=4),
})  # fmt: skip


@settings(max_examples=25)
@given(
    segment=delimiters,
    hold=st.booleans(),
    sync=st.sampled_from(["level", "path"]),
    seed=st.integers(0, 10_000),
    replicas=st.integers(1, 3),
    slots=st.integers(1, 5),
    kill=st.sampled_from([0.0, 0.02]),
)
def test_the_order_of_arrival_changes_nothing(segment, hold, sync, seed, replicas, slots, kill):
    branch = {"sync": sync}
    alone = World(replicas=1, slots=64, tasks=2, overrides={"branch": branch, "segment": segment})
    held = {**segment, "hold": hold}
    fleet = {"replicas": replicas, "slots": slots, "kill_share": kill}
    other = World(seed=seed, tasks=2, overrides={"branch": branch, "segment": held}, **fleet)
    alone.run()
    other.run()
    assert fingerprint(other) == fingerprint(alone)
