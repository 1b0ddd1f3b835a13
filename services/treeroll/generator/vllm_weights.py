"""Changing the weights of a running vLLM, from our process and in its workers."""

import asyncio
from typing import Any

from treeroll.weights.check import CheckedWeights

WORKER_EXTENSION = f"{__name__}.LoadsWeights"


class LoadsWeights:
    """Mixed into vLLM's workers by `worker_extension_cls`; its methods are what `collective_rpc` may call there."""

    reload_weights: Any  # the worker's own
    model_runner: Any

    def treeroll_load_weights(self, directory: str) -> None:
        """Read a checked directory into the model. Raises whatever vLLM raises; the model may then have parts of it.

        On CPU vLLM computes with a packed copy of the output head. For a head that is tied to the embedding, and so is
        in no file, a reload packs nothing: the model would go on with its old head, without a word.
        """
        from vllm.model_executor.layers.vocab_parallel_embedding import ParallelLMHead, UnquantizedEmbeddingMethod

        self.reload_weights(weights_path=directory)
        for module in self.model_runner.get_model().modules():
            if isinstance(module, ParallelLMHead) and isinstance(module.quant_method, UnquantizedEmbeddingMethod):
                module.quant_method.process_weights_after_loading(module)


async def change_weights(llm: Any, version: int, checked: CheckedWeights, recompute: bool) -> None:
    """Have an AsyncLLM load a checked directory, and leave it paused. After an error its weights are of no version.

    `recompute` drops all KV: requests that run compute theirs again when they go on.
    """
    await llm.pause_generation(mode="keep", clear_cache=recompute)
    await llm.collective_rpc("treeroll_load_weights", args=(str(checked.directory),))
    await asyncio.to_thread(checked.ensure_unchanged)  # nobody has written to it while it was read
    await llm.update_weight_version(str(version))


class VersionStarts:
    """Which weight versions made the tokens of one request, as vLLM's output processor books them.

    vLLM says so with a request's last output only. Before that the list is in its state of the request, which is gone
    with the last output: `tests/contract/test_engine_weights.py` would notice if either were no longer so.
    """

    def __init__(self, llm: Any, request_id: str) -> None:
        self._processor = llm.output_processor
        self._request_id = request_id
        self._starts: list[tuple[str, int]] = []

    def after(self, completion: Any) -> list[tuple[int, int]]:
        """(version, its first token) of each so far. Empty if vLLM does not say: the tokens are then refused."""
        if completion.weight_versions is not None:
            return [(int(span.version), span.start) for span in completion.weight_versions]
        if not self._starts:
            for name in self._processor.external_req_ids.get(self._request_id, ()):
                self._starts = self._processor.request_states[name].weight_version_starts
        return [(int(version), start) for version, start in self._starts]
