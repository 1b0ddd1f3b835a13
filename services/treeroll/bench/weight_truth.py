"""Are tokens of the weights that their nodes name? Another implementation says so: transformers, in float32."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from treeroll.client import Node, TreeRecord
from treeroll.errors import InvalidInput
from treeroll.generator.vllm_engine import CPU_BLOCK_SIZE
from treeroll.records.fields import Float32, Int32


@dataclass(slots=True)
class Agreement:
    """How far recorded logprobs are from the reference, nats."""

    tokens: int = 0
    """Decoded on KV of their own weights."""
    worst: float = 0.0
    mixed_tokens: int = 0
    """In nodes that say `kv_mixed`: compared with KV that the reference made by the same weights, place by place."""
    mixed_worst: float = 0.0
    mixed_worst_in: str = ""
    """What nodes say of the request that `mixed_worst` is of."""
    other_weights: float = 0.0
    """Sum over `tokens` of the distance to the version before: what a wrong label would cost."""

    def add(self, other: "Agreement") -> None:
        """Take in what was found elsewhere."""
        self.tokens += other.tokens
        self.mixed_tokens += other.mixed_tokens
        self.other_weights += other.other_weights
        self.worst = max(self.worst, other.worst)
        self.see_mixed(other.mixed_worst, other.mixed_worst_in)

    def see_mixed(self, distance: float, where: str) -> None:
        """Take in how far a request is off."""
        if distance > self.mixed_worst:
            self.mixed_worst, self.mixed_worst_in = distance, where


class ReferenceModels:
    """transformers with the weights of each version, in float32."""

    def __init__(self, model_dir: Path, directories: Mapping[int, Path]) -> None:
        """`directories` has every version but 0, which is the model itself; it may grow later."""
        self._model_dir = model_dir
        self._directories = directories
        self._models: dict[int, Any] = {}

    def logprobs(self, ids: Sequence[int] | Int32, makers: Sequence[int]) -> Float32:
        """Of every token but the first, [N - 1], where the KV of each of N places is made by its version."""
        import torch

        row, past, found = torch.as_tensor(np.asarray(ids, np.int64))[None], None, []
        place = 0
        with _one_thread(), torch.inference_mode():
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
            from transformers.utils import logging

            logging.disable_progress_bar()  # one for each version
            model = AutoModelForCausalLM.from_pretrained(str(self._model_dir), dtype=torch.float32)
            if version:
                tensors = load_file(self._directories[version] / "model.safetensors")
                missing, unexpected = model.load_state_dict(tensors, strict=False)
                tied = {"lm_head.weight"} if model.config.tie_word_embeddings else set[str]()
                if unexpected or not set(missing) <= tied:
                    raise InvalidInput(
                        f"{self._directories[version]} does not fit {self._model_dir}: tensors {missing} are missing, "
                        f"{unexpected} are none of the model's"
                    )
            self._models[version] = model.eval()
        return self._models[version]


@contextmanager
def _one_thread() -> Iterator[None]:
    """A small model is not faster by more, and far slower on a machine with other work."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True, slots=True)
class _Path:
    """A prompt and the nodes that go on from it to one without children."""

    ids: Int32
    logprobs: Float32
    """Of all ids; 0 for those of the prompt."""
    nodes: list[Node]
    versions: list[int]
    """Which made the token at each place; -1 for those of the prompt."""
    fresh: set[str]
    """Nodes that are on no earlier path."""


class WeightTruth:
    """Compares trees that were sampled at temperature 1 with models of all versions."""

    def __init__(self, model_dir: Path, directories: Mapping[int, Path]) -> None:
        """See ReferenceModels."""
        self._models = ReferenceModels(model_dir, directories)

    def check(self, tree: TreeRecord) -> Agreement:
        """Every token of the tree, each once."""
        found = Agreement()
        for path in _paths(tree):
            self._check_pure(found, path)
            self._check_mixed(found, path)
        return found

    def _check_pure(self, found: Agreement, path: _Path) -> None:
        pure = [node for node in path.nodes if node.node_id in path.fresh and not node.kv_mixed]
        places = _places(pure)
        for version in sorted({path.versions[at] for at in places}):
            these = np.array([at for at in places if path.versions[at] == version])
            found.tokens += len(these)
            found.worst = max(found.worst, float(self._distances(path, version)[these].max()))
            if version:
                found.other_weights += float(self._distances(path, version - 1)[these].sum())

    def _distances(self, path: _Path, version: int) -> Float32:
        """How far the logprob of each place is from that of one version on KV of its own."""
        truth = self._models.logprobs(path.ids, [version] * len(path.ids))
        distances: Float32 = np.abs(path.logprobs - np.concatenate([path.logprobs[:1], truth]))
        return distances

    def _check_mixed(self, found: Agreement, path: _Path) -> None:
        for request in _requests(path.nodes):
            mixed = [node for node in request if node.kv_mixed and node.node_id in path.fresh]
            if not mixed:
                continue
            places = np.array(_places(mixed))
            start, end = request[0].token_start, int(places[-1]) + 1
            # A step computes KV of the place before the token that it samples.
            own = [*path.versions[start:end], path.versions[end - 1]]
            distances = (self._mixed_distance(path, [*before, *own], places) for before in _prefix_makers(request[0]))
            found.mixed_tokens += len(places)
            found.see_mixed(min(distances), _told(request))

    def _mixed_distance(self, path: _Path, makers: list[int], places: Int32) -> float:
        """How far the farthest of these places is, if the KV of each place was made by these versions."""
        truth = self._models.logprobs(path.ids[: len(makers)], makers)
        return float(np.abs(path.logprobs[places] - truth[places - 1]).max())


def _told(request: list[Node]) -> str:
    """Of each of its nodes: id, first token, tokens by version, whether on mixed KV; and what was cached before it."""
    nodes = (
        f"{node.node_id} from {node.token_start} {[(span.version, span.tokens) for span in node.weight_versions]}"
        f"{' mixed' if node.kv_mixed else ''}"
        for node in request
    )
    return f"on {request[0].replica_id}, {request[0].cached_tokens} cached: {'; '.join(nodes)}"


def _prefix_makers(first: Node) -> Iterator[list[int]]:
    """Which versions may have made the KV of each place but the last of a request's prefix: one list, or some.

    Who was made just before a change and had its first step after it found KV of the version before, as far as it was
    cached then. What follows was made after the change, by itself, or by another such request and found, too: of the
    blocks that it found nobody says which are which.
    """
    prefix, version = first.token_start - 1, first.weight_versions[0].version
    if not first.kv_mixed or len(first.weight_versions) > 1:
        yield [version] * prefix
        return
    cached = min(first.cached_tokens or 0, prefix)
    for older in range(cached, -1, -CPU_BLOCK_SIZE):
        yield [version - 1] * older + [version] * (prefix - older)


def _places(nodes: Sequence[Node]) -> list[int]:
    return [at for node in nodes for at in range(node.token_start, node.token_start + len(node.token_ids))]


def _paths(tree: TreeRecord) -> Iterator[_Path]:
    """To every node without children: not only to leaves, for what was cut was sampled, too."""
    nodes, seen = {node.node_id: node for node in tree.nodes}, set[str]()
    parents = {node.parent_id for node in tree.nodes}
    for last in (node for node in tree.nodes if node.node_id not in parents):
        path = [last]
        while (parent := path[-1].parent_id) is not None:
            path.append(nodes[parent])
        root, *rest = reversed(path)
        if not rest:
            continue
        prompt = np.zeros(len(root.token_ids), np.float32)
        yield _Path(
            ids=np.concatenate([root.token_ids, *(node.token_ids for node in rest)]),
            logprobs=np.concatenate([prompt, *(node.logprobs for node in rest)]),
            nodes=rest,
            versions=[-1] * len(prompt) + [version for node in rest for version in _versions(node)],
            fresh={node.node_id for node in rest} - seen,
        )
        seen |= {node.node_id for node in rest}


def _versions(node: Node) -> Iterator[int]:
    for span in node.weight_versions:
        for _ in range(span.tokens):
            yield span.version


def _requests(path: list[Node]) -> Iterator[list[Node]]:
    """The nodes that each engine request on the path has made; a request's first node says what was cached for it."""
    request: list[Node] = []
    for node in path:
        if node.cached_tokens is not None and request:
            yield request
            request = []
        request.append(node)
    yield request
