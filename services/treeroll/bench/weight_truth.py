"""Are tokens of the weights that their nodes name? Another implementation says so: transformers, in float32."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from treeroll.client import Node, TreeRecord
from treeroll.records.fields import Float32


@dataclass(slots=True)
class Agreement:
    """How far recorded logprobs are from the reference, nats."""

    tokens: int = 0
    """Decoded on KV of their own weights."""
    worst: float = 0.0
    mixed_tokens: int = 0
    """In nodes that say `kv_mixed`: compared with KV that the reference made by the same weights, place by place."""
    mixed_worst: float = 0.0
    unknown_tokens: int = 0
    """Of requests that may have begun under other weights than their first token's: not compared."""
    other_weights: float = 0.0
    """Sum over `tokens` of the distance to the version before: what a wrong label would cost."""

    def add(self, other: "Agreement") -> None:
        """Take in what was found elsewhere."""
        self.tokens += other.tokens
        self.mixed_tokens += other.mixed_tokens
        self.unknown_tokens += other.unknown_tokens
        self.other_weights += other.other_weights
        self.worst, self.mixed_worst = max(self.worst, other.worst), max(self.mixed_worst, other.mixed_worst)


@dataclass(frozen=True, slots=True)
class _Token:
    """What made the token at one place of a path."""

    node: Node
    version: int


class WeightTruth:
    """Compares trees that were sampled at temperature 1 with models of all versions."""

    def __init__(self, model_dir: Path, directories: Mapping[int, Path]) -> None:
        """`directories` has every version but 0, which is the model itself; it may grow later."""
        self._model_dir = model_dir
        self._directories = directories
        self._models: dict[int, Any] = {}

    def check(self, tree: TreeRecord) -> Agreement:
        """Every token of the tree's samples, each once."""
        found, seen = Agreement(), set[str]()
        nodes = {node.node_id: node for node in tree.nodes}
        for sample in tree.samples:
            path = [nodes[name] for name in sample.path_node_ids]
            fresh = {node.node_id for node in path} - seen
            seen |= fresh
            ids = np.concatenate([sample.prompt_ids, sample.completion_ids])
            tokens = [None] * len(sample.prompt_ids) + [token for node in path for token in _tokens(node)]
            self._check_pure(found, ids, sample.logprobs, tokens, fresh)
            self._check_mixed(found, ids, sample.logprobs, path, tokens, fresh)
        return found

    def _check_pure(
        self, found: Agreement, ids: Any, logprobs: Float32, tokens: list[_Token | None], fresh: set[str]
    ) -> None:
        prompt = len(ids) - len(logprobs)
        places = [at for at, token in enumerate(tokens) if token and token.node.node_id in fresh]
        places = [at for at in places if not tokens[at].node.kv_mixed]  # type: ignore[union-attr]
        by_version = sorted(places, key=lambda at: tokens[at].version)  # type: ignore[union-attr]
        for version, group in groupby(by_version, key=lambda at: tokens[at].version):  # type: ignore[union-attr]
            these = np.array(list(group))
            recorded = logprobs[these - prompt]
            truth = self._logprobs(ids, [version] * len(ids))[these - 1]
            found.tokens += len(these)
            found.worst = max(found.worst, float(np.abs(recorded - truth).max()))
            if version:
                before = self._logprobs(ids, [version - 1] * len(ids))[these - 1]
                found.other_weights += float(np.abs(recorded - before).sum())

    def _check_mixed(
        self,
        found: Agreement,
        ids: Any,
        logprobs: Float32,
        path: list[Node],
        tokens: list[_Token | None],
        fresh: set[str],
    ) -> None:
        prompt = len(ids) - len(logprobs)
        for request in _requests(path):
            mixed = [node for node in request if node.kv_mixed and node.node_id in fresh]
            if not mixed:
                continue
            places = np.concatenate([np.arange(n.token_start, n.token_start + len(n.token_ids)) for n in mixed])
            if request[0].kv_mixed and len(request[0].weight_versions) == 1:
                found.unknown_tokens += len(places)
                continue
            start, end = request[0].token_start, request[-1].token_start + len(request[-1].token_ids)
            began = request[0].weight_versions[0].version
            # A step computes KV of the place before the token that it samples.
            makers = [began] * (start - 1) + [tokens[at].version for at in range(start, end)]  # type: ignore[union-attr]
            truth = self._logprobs(ids[:end], [*makers, makers[-1]])[places - 1]
            found.mixed_tokens += len(places)
            worst = float(np.abs(logprobs[places - prompt] - truth).max())
            found.mixed_worst = max(found.mixed_worst, worst)

    def _logprobs(self, ids: Any, makers: list[int]) -> Float32:
        """Of each token but the first one, where the KV of each place is made by its version."""
        import torch

        row, past, found = torch.as_tensor(np.asarray(ids, np.int64))[None], None, []
        place = 0
        with torch.inference_mode():
            for version, group in groupby(makers):
                after = place + len(list(group))
                out = self._model(version)(input_ids=row[:, place:after], past_key_values=past, use_cache=True)
                past = out.past_key_values
                found.append(out.logits[0])
                place = after
            logits = torch.cat(found)[:-1].log_softmax(-1)
            return np.asarray(logits.gather(1, row[0, 1:, None])[:, 0].numpy(), np.float32)

    def _model(self, version: int) -> Any:
        if version not in self._models:
            import torch
            from safetensors.torch import load_file
            from transformers import AutoModelForCausalLM

            model = AutoModelForCausalLM.from_pretrained(str(self._model_dir), dtype=torch.float32)
            if version:
                model.load_state_dict(load_file(self._directories[version] / "model.safetensors"), strict=False)
            self._models[version] = model.eval()
        return self._models[version]


def _tokens(node: Node) -> Iterator[_Token]:
    for span in node.weight_versions:
        for _ in range(span.tokens):
            yield _Token(node, span.version)


def _requests(path: list[Node]) -> Iterator[list[Node]]:
    """The nodes that each engine request on the path has made; a request's first node says what was cached for it."""
    request: list[Node] = []
    for node in path:
        if node.cached_tokens is not None and request:
            yield request
            request = []
        request.append(node)
    yield request
