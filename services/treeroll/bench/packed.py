"""One training step on the same trees: padded samples in micro-batches, or packed rows, each tree once.

Trees are grown by a real service over the simulated engine: their shape is the recipe's, their text is chance. A step
is forward and backward of the clipped policy loss over all of them; no optimizer. Needs torch and transformers.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM

import treeroll
from treeroll.bench.models import Model
from treeroll.bench.result import Column, Result
from treeroll.bench.rounds import Figures, Variant, run_rounds
from treeroll.client.packed import PackedRow, packed
from treeroll.client.records import Sample
from treeroll.client.tensors import padded
from treeroll.demo import TASKS_FILE
from treeroll.errors import InvalidInput
from treeroll.integrations.tree_attention import NAME, packed_logps, packed_loss, register
from treeroll.tasks import read_tasks
from treeroll.testing.service import running_service

PADDED: Final = "padded"
COLUMNS = (
    Column("step_s", "s per step", 2, ratio_to=PADDED),
    Column("cpu_s", "CPU s", 2, ratio_to=PADDED),
    Column("forwarded", "tokens forwarded", 0, ratio_to=PADDED),
    Column("rows", "rows", 0),
)
CLIP = 0.2


@dataclass(frozen=True, slots=True)
class Way:
    """How packed rows go through a model."""

    attention: str
    together: bool = False
    """All trees in one row; else a row each."""


WAYS: Mapping[str, Way] = {
    "segments": Way(NAME),
    "segments-one-row": Way(NAME, together=True),
    "dense": Way("sdpa"),
    "flex": Way("flex_attention"),
    "flex-one-row": Way("flex_attention", together=True),
}


def check_variants(names: Sequence[str], device: str) -> None:
    """InvalidInput for a name that is none, without the baseline, and for what the device cannot do."""
    for name in names:
        if name != PADDED and name not in WAYS:
            raise InvalidInput(f"--variants: there is no {name!r}; there are {PADDED}, {', '.join(WAYS)}")
        if name.startswith("flex") and device == "cpu":
            raise InvalidInput(f"--variants {name}: FlexAttention has no backward pass on CPUs; try --device cuda")
    if PADDED not in names:
        raise InvalidInput(f"--variants needs {PADDED}: the other figures are ratios to it")


def grown(recipe: str, tasks: int, leaves: int, segment_tokens: int, max_depth: int) -> list[Sample]:
    """Samples of so many trees. Every other leaf has reward 1, so that credit is not all 0."""
    with running_service() as address:
        run = treeroll.connect(address, token="", tls=False).create_run(
            "packed",
            recipe=recipe,
            leaves=leaves,
            segment_tokens=segment_tokens,
            max_depth=max_depth,
            max_tokens=segment_tokens * max_depth,
            ignore_eos=True,
            scorer="client",
            seed=1,
        )
        run.submit(read_tasks(TASKS_FILE, limit=tasks))
        run.close()
        batch = next(run.batches(trees=tasks))
        batch.score(lambda sample: float(sample.index % 2))
        return [*batch.samples]


def load(model: Model, dtype: str, device: str) -> Any:
    """The model on the device, ready to train; of random weights where it has none."""
    register()
    torch.manual_seed(0)
    kind = getattr(torch, dtype)
    if model.load_format == "dummy":
        config = AutoConfig.from_pretrained(model.path)
        return AutoModelForCausalLM.from_config(config, dtype=kind).to(device).train()
    return AutoModelForCausalLM.from_pretrained(model.path, dtype=kind).to(device).train()


class PackedBench:
    """The trees, the model, and steps on them."""

    def __init__(self, samples: Sequence[Sample], model: Any, micro_batch: int, parameters: Mapping[str, Any]) -> None:
        self.samples, self.model, self._parameters = list(samples), model, parameters
        as_sampled_by(model, self.samples)
        self._tensors = [
            {name: torch.from_numpy(array).to(model.device) for name, array in padded(part).items()}
            for part in (self.samples[at : at + micro_batch] for at in range(0, len(self.samples), micro_batch))
        ]
        self._rows = {together: self._packed(together) for together in (False, True)}
        self._tokens = float(sum(row.count.sum() for row in self._rows[True]))

    def _packed(self, together: bool) -> list[PackedRow]:
        return packed(self.samples, trees_per_row=len(self.samples) if together else 1)

    async def run(self, names: Sequence[str], rounds: int, note: Callable[[str], None]) -> Result:
        """Measure the variants in turn, after comparing their gradients to those of padded samples in float64."""
        remarks = [self._sharing(), "gradients' distance from that of padded samples in float64, norm over norm:"]
        dtype = str(self.model.dtype).removeprefix("torch.")
        for name, (as_used, precise) in self.distances(names).items():
            remarks.append(f"{name}: {as_used:.1e} in {dtype}, {precise:.1e} in float64")
        measured = await run_rounds({name: self._variant(name) for name in names}, rounds, note)
        return Result("packed", self._parameters, measured, COLUMNS, remarks)

    def distances(self, names: Sequence[str]) -> dict[str, tuple[float, float]]:
        """From the gradient of padded samples in float64, norm over norm: of each variant in the model's dtype, and in
        float64. The second is the method's own; the first is mostly rounding, which padded samples have too.
        """
        precise = deepcopy(self.model).double()
        expected = self.gradient(PADDED, precise)

        def apart(name: str, model: Any) -> float:
            return float((self.gradient(name, model) - expected).norm() / expected.norm())

        return {name: (apart(name, self.model), apart(name, precise)) for name in names}

    def _sharing(self) -> str:
        real = sum(len(sample.prompt_ids) + len(sample.completion_ids) for sample in self.samples)
        once, trees = len(self._rows[True][0]), len({sample.tree_id for sample in self.samples})
        return (
            f"{trees} trees, {len(self.samples)} samples, {real:,} tokens of which {once:,} are distinct: "
            f"sharing {real / once:.2f}"
        )

    def _variant(self, name: str) -> Variant:
        async def run(_: int) -> Figures:
            began, cpu = time.perf_counter(), time.process_time()
            self.step(name, self.model)
            if self.model.device.type == "cuda":
                torch.cuda.synchronize()
            found = {"step_s": time.perf_counter() - began, "cpu_s": time.process_time() - cpu}
            self.model.zero_grad()
            return {**found, **self.size(name)}

        return run

    def size(self, name: str) -> Figures:
        """Places that the model computes, padding included, and calls of it."""
        if name == PADDED:
            cells = sum(tensors["attention_mask"].numel() for tensors in self._tensors)
            return {"forwarded": cells, "rows": len(self._tensors)}
        rows = self._rows[WAYS[name].together]
        return {"forwarded": sum(map(len, rows)), "rows": len(rows)}

    def step(self, name: str, model: Any) -> None:
        """Forward and backward over all trees; gradients add up in the model."""
        if name == PADDED:
            model.set_attn_implementation("sdpa")
            for tensors in self._tensors:
                padded_loss(model, tensors, self._tokens).backward()
            return
        way = WAYS[name]
        model.set_attn_implementation(way.attention)
        for row in self._rows[way.together]:
            packed_loss(model, row, self._tokens, CLIP, CLIP).backward()

    def gradient(self, name: str, model: Any) -> torch.Tensor:
        self.step(name, model)
        found = torch.cat([parameter.grad.flatten() for parameter in model.parameters()]).double()
        model.zero_grad()
        return found


def as_sampled_by(model: Any, samples: Sequence[Sample]) -> None:
    """Give all tokens logprobs near the model's own, N(0, 0.2) off, so that some ratios are clipped on either side.

    The simulated engine's, which come from no model, would put nearly every ratio outside.
    """
    chance = np.random.default_rng(0)
    model.set_attn_implementation(NAME)
    for row in packed(samples):
        with torch.no_grad():
            logps = packed_logps(model, row).float().cpu().numpy()
        logprobs = np.zeros(len(row), np.float32)
        logprobs[row.count > 0] = np.minimum(logps + chance.normal(0, 0.2, len(logps)), 0)
        for place, start, end in zip(row.sample_index, row.sample_offsets, row.sample_offsets[1:], strict=False):
            own = [np.arange(*row.segment_start[each : each + 2]) for each in row.sample_segments[start:end]]
            samples[place].logprobs = logprobs[np.concatenate(own)][len(samples[place].prompt_ids) :]


def padded_loss(model: Any, tensors: Mapping[str, torch.Tensor], denominator: float) -> torch.Tensor:
    """What `packed_loss` is of packed rows, of padded samples."""
    logits = model(
        input_ids=torch.cat([tensors["prompt_ids"], tensors["completion_ids"]], 1),
        attention_mask=tensors["attention_mask"],
        position_ids=tensors["position_ids"],
        logits_to_keep=tensors["completion_ids"].shape[1] + 1,
        use_cache=False,
    ).logits[:, :-1]
    logits = logits / tensors["temperatures"][:, :, None]
    logps = logits.log_softmax(-1).gather(-1, tensors["completion_ids"][:, :, None])[:, :, 0]
    ratio, advantages = (logps - tensors["old_per_token_logps"]).exp(), tensors["advantages"]
    terms = torch.minimum(ratio * advantages, ratio.clamp(1 - CLIP, 1 + CLIP) * advantages)
    return -(terms * tensors["loss_weights"] * tensors["loss_mask"]).sum() / denominator
