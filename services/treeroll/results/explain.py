"""Why a node is there, and why nothing goes on behind it, in sentences: the decisions that its record keeps.

The same whether the record comes from a service, its store or a result directory. Nothing is guessed: where no reason
was recorded, that is said.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from treeroll.why import Why, sentence

BEGUN = {
    "initial": "one of the first branches",
    "fork": "a fork",
    "fallback": "a branch of a fallback",
}
READ = {"boundary": "what was known at its boundary", "retrospective": "what came later"}
ACCOUNTS = {
    "tokens": "the run's budget of tokens",
    "task_tokens": "the task's budget of tokens",
    "tree_tokens": "the tree's budget of tokens",
    "tokens_per_second": "the run's rate of tokens",
    "leaves": "the run's budget of leaves",
    "expansions": "the run's budget of expansions",
    "tool_calls": "the run's budget of tool calls",
}


def why_of(value: Any) -> Why | None:
    """From a record, or from a row of Parquet."""
    if value is None or isinstance(value, Why):
        return value
    return Why(value["rule"], tuple((term["name"], float(term["value"])) for term in value["terms"] or ()))


def begun(path: Sequence[Mapping[str, Any]], explains: Mapping[str, str]) -> str:
    """Why the last node of a path is there. `path`: nodes from the prompt down to it."""
    node = path[-1]
    if node["branch_reason"] == "prompt" or len(path) == 1:
        return "the prompt"
    at, first = next(
        ((place, step) for place, step in reversed(list(enumerate(path))) if place and _is_first(step, place)),
        (1, path[1]),
    )
    reason = BEGUN.get(first["branch_reason"], first["branch_reason"])
    why = why_of(first.get("why"))
    said = f"{reason}, by {READ.get(first['decision'], first['decision'])}"
    said += f": {sentence(why, explains)}" if why is not None else "; no reason is recorded"
    below = path[at - 1]["path"] or "the prompt"
    return f"{said} (begun at {below})" if first is node else f"its branch ran on from {first['path']}, {said}"


def _is_first(node: Mapping[str, Any], depth: int) -> bool:
    return node.get("why") is not None or node["sibling_index"] > 0 or depth == 1


def waited(node: Mapping[str, Any]) -> str | None:
    """How long its branch waited for a replica; None for a node that a running request reached."""
    seconds = node.get("waited_s")
    if seconds is None:
        return None
    account = node.get("masked_by")
    masked = f", and {ACCOUNTS.get(account, account)} had too little room for it meanwhile" if account else ""
    return f"{seconds:.2f} s for a replica{masked}"


def ended(node: Mapping[str, Any], tree: Mapping[str, Any], explains: Mapping[str, str]) -> str | None:
    """Why a path ended at the node; None where paths only go on."""
    why = why_of(node.get("ended_by"))
    said = None if why is None else sentence(why, explains)
    match node["status"]:
        case "leaf":
            return _with(f"a leaf ({node['stop_reason']})", said)
        case "pruned":
            return _with(f"discarded ({node['stop_reason']}), in no sample", said)
        case "open" if said is not None:
            return f"nothing goes on here: {said}"
        case "open" if tree.get("growing"):
            return "it goes on, or waits for others"
        case "open" if tree.get("stop_reason"):
            return f"it was cut with its tree ({tree['stop_reason']}): {tree.get('error') or 'nobody says why'}"
        case "open":
            return "it waited for a decision, and its policy ended the tree without one"
        case _ if said is not None:
            return f"a branch that was to begin here was cut: {said}"
    return None


def _with(what: str, said: str | None) -> str:
    return what if said is None else f"{what}: {said}"


def allotted(tree: Mapping[str, Any], explains: Mapping[str, str]) -> str | None:
    """Why the tree has so many leaves; None if no allocator was asked."""
    if not tree.get("allotted_leaves"):
        return None
    why = why_of(tree.get("allotted_by"))
    return f"{tree['allotted_leaves']} leaves" + (f": {sentence(why, explains)}" if why else "")


def lineage(nodes: Iterable[Mapping[str, Any]], path: str) -> list[Mapping[str, Any]]:
    """The nodes from the prompt down to the one of this path; empty if there is none."""
    by_path = {node["path"]: node for node in nodes}
    steps = path.split(".") if path else []
    found = [by_path.get(".".join(steps[:length])) for length in range(len(steps) + 1)]
    return [node for node in found if node is not None] if all(node is not None for node in found) else []
