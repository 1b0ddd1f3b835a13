"""What prime-rl 0.8.0's trainer reads, for tests on machines that cannot run it (it wants CUDA and Python 3.12).

`MicroBatch` has the fields and types that its receiver decodes, in their order.
"""

from pathlib import Path

import msgspec


class MicroBatch(msgspec.Struct, array_like=True):
    """One row of N tokens, as its trainer gets it."""

    input_ids: list[int]
    loss_mask: list[bool]
    advantages: list[float]
    inference_logprobs: list[float]
    position_ids: list[int]
    sequence_lengths: list[int]
    temperatures: list[float]
    env_names: list[str]
    seq_lens: list[int]
    ref_logprobs: list[float] | None = None
    routed_experts: None = None
    mm_kwargs: None = None
    mm_token_type_ids: list[int] | None = None
    rl_weights: list[float] | None = None
    ce_weights: list[float] | None = None
    ref_kl_weights: list[float] | None = None


PER_TOKEN = ("loss_mask", "advantages", "inference_logprobs", "position_ids", "temperatures", "env_names", "rl_weights")


def received(output_dir: Path, step: int, rank: int) -> list[MicroBatch]:
    """A rank's micro-batches of a step."""
    content = (output_dir / "rollouts" / f"step_{step}" / f"rank_{rank}.bin").read_bytes()
    return msgspec.msgpack.decode(content, type=list[MicroBatch])
