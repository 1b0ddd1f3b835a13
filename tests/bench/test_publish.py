"""`treeroll bench publish` on simulated replicas: its updates, and that it finds tokens that are not the model's."""

import pytest

from treeroll.bench.publish import PublishBench, remark
from treeroll.bench.weight_truth import Agreement, WeightTruth
from treeroll.client import TreeRecord, connect_async
from treeroll.demo import MODEL_DIR
from treeroll.errors import TreerollError
from treeroll.generator.config import SimulatedLatency
from treeroll.generator.detokenizer import Detokenizer
from treeroll.generator.simulated_engine import SimulatedEngine
from treeroll.testing.service import LocalService, local_service


def start(service: LocalService, name: str, incarnation: int = 1) -> None:
    latency = SimulatedLatency(step_s=0.002)
    tokenizer = Detokenizer(MODEL_DIR).tokenizer
    engine = SimulatedEngine(tokenizer, model=str(MODEL_DIR), slots=8, max_model_len=1024, latency=latency)
    service.serve_engine(engine, name, incarnation)


async def test_updates_take_turns_and_a_killed_replica_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    def count(_: WeightTruth, tree: TreeRecord) -> Agreement:
        return Agreement(tokens=sum(len(node.token_ids) for node in tree.nodes[1:]))

    monkeypatch.setattr(WeightTruth, "check", count)
    async with local_service() as service, await connect_async(service.address) as client:
        start(service, "r0")
        start(service, "r1")
        await service.joined()

        def kill() -> None:
            [victim] = [task for task in service.tasks if task.get_name() == "r1"]
            victim.cancel()
            service.lose("r1", 1)
            start(service, "r1", incarnation=2)

        result = await PublishBench(updates=5, rules=("continue", "stop")).measure(client, kill, lambda _: None)
        assert [len(rounds) for rounds in result.rounds.values()] == [3, 2]
        assert (await client.weights()).version == 5
    assert all(figures["publish_s"] > 0 for rounds in result.rounds.values() for figures in rounds)
    assert [remark.partition(":")[0] for remark in result.remarks] == ["continue", "stop"]


@pytest.mark.parametrize("found", [Agreement(9, worst=0.1), Agreement(9, mixed_tokens=1, mixed_worst=0.1)])
def test_tokens_that_are_not_of_the_weights_that_their_nodes_name_fail_the_benchmark(found: Agreement) -> None:
    with pytest.raises(TreerollError, match=r"stop: logprobs are up to 1.0e-01 nats from those of the weights that"):
        remark("stop", found)
