"""What trees are begun with beside their run's policies: a service that starts with other settings must not go on with
them, for their records would say what is not."""

from collections.abc import Mapping

from treeroll.coordinator.persist import CommitBuilder
from treeroll.core.model.pool import names
from treeroll.core.model.run import RunSpec
from treeroll.pb.v1 import store_pb2 as stored


def ground(spec: RunSpec, builder: CommitBuilder, ends: Mapping[str, list[int]]) -> dict[str, str]:
    """By a name for people; `ends` are the ids that end a text, by pool."""
    said = {"tokenizer and chat template": builder.tokenizer_hash, "log probabilities": builder.logprobs_mode}
    return said | {f"ids that end texts of {names([pool])}": _ids(ends.get(pool, [])) for pool in spec.pools}


def difference(spec: RunSpec, memory: stored.RunMemory) -> str:
    """Why a run with such trees cannot go on as `spec`, as a sentence; "" if it can. What an earlier version has not
    stored is not missed."""
    if memory.pools and set(memory.pools) != set(spec.pools):
        return (
            f"its trees grow with {names(memory.pools)}, and would go on with {names(spec.pools)}; name the service's "
            "models as they were (generator.pools), or delete it"
        )
    for what, before in sorted(memory.ground.items()):
        if (now := spec.ground.get(what, "")) != before:
            return (
                f"its trees were begun with {what} {before or 'none'}, and the service has {now or 'none'} now; start "
                "it with those again, or delete the run"
            )
    return ""


def _ids(ends: list[int]) -> str:
    return " ".join(map(str, sorted(ends)))
