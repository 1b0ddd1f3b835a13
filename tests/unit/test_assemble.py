"""What a whole tree adds to its stored records."""

from treeroll.pb.v1 import common_pb2 as pb
from treeroll.records.assemble import as_stored, complete, pieces
from treeroll.store.base import StoredTree


def stored() -> StoredTree:
    """Root 0 with 1 and 2 below; 1 forks into 3 and 4. Leaves 2, 3 and 4, of which 2 has no reward."""
    header = pb.Tree(tree_id="t", status="complete")
    for leaf, reward in ((3, 1.0), (4, 0.0), (2, None)):
        header.leaves.add(leaf=leaf, reward=reward)
    shape = [(0, 0, "inner"), (0, 0, "inner"), (0, 1, "leaf"), (1, 0, "leaf"), (1, 1, "leaf")]
    nodes = [
        pb.Node(number=number, parent=parent, sibling_index=index, status=status).SerializeToString()
        for number, (parent, index, status) in enumerate(shape)
    ]
    reward = pb.Reward(scorer="s", version=1, value=1.0).SerializeToString()
    return StoredTree(header.SerializeToString(), nodes, {"3:s:1": reward})


def test_records_are_joined_unread_and_rewards_go_to_their_nodes() -> None:
    tree = as_stored(stored())
    assert [node.number for node in tree.nodes] == [0, 1, 2, 3, 4]
    assert [len(node.rewards) for node in tree.nodes] == [0, 0, 0, 1, 0]


def test_parts_of_a_tree_one_after_the_other_are_the_tree() -> None:
    whole = stored()
    page = StoredTree(b"", whole.nodes[2:], whole.rewards)
    whole.nodes, whole.rewards = whole.nodes[:2], {}
    parts = [*pieces(whole), *pieces(page, 2)]
    assert pb.Tree.FromString(b"".join(parts)) == as_stored(stored())


def test_a_complete_tree_is_in_depth_first_order_with_intervals_and_values() -> None:
    tree = complete(as_stored(stored()))
    assert [(node.number, node.path, node.tin, node.tout) for node in tree.nodes] == [
        (0, "", 0, 5), (1, "0", 1, 4), (3, "0.0", 2, 3), (4, "0.1", 3, 4), (2, "1", 4, 5),
    ]  # fmt: skip
    values = {node.number: (node.n_leaves, node.value if node.HasField("value") else None) for node in tree.nodes}
    assert values == {0: (3, 0.5), 1: (2, 0.5), 2: (1, None), 3: (1, 1.0), 4: (1, 0.0)}
