"""Configuration of the generator: engine, models and how many replicas."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from treeroll.autoscale.terms import Terms
from treeroll.config import Config, describe
from treeroll.demo import MODEL_DIR
from treeroll.generator.autoscale import AutoscaleConfig
from treeroll.generator.exporter_config import ExporterConfig
from treeroll.generator.placement import PlacementConfig
from treeroll.tracing.config import TracingConfig

# A pool's name is also a part of its replicas' names.
POOL_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
# What pools may differ in. All else is the service's: one engine, one context, one kind of logprobs.
POOL_KEYS = frozenset({
    "model", "replicas", "slots", "block_size", "kv_cache_gib", "kv_blocks", "dtype", "load_format", "stream_interval",
    "gpu_memory_utilization", "tensor_parallel", "simulated", "device", "ray", "autoscale",
})  # fmt: skip


class SimulatedLatency(Config):
    """Time model of the simulated engine: a decode step costs the same for any batch up to a knee, as on a GPU."""

    step_s: float = Field(default=0.02, ge=0.0, le=10.0)
    """Seconds for one decode step, one token for every running request. 0: as fast as Python can."""
    knee: int = Field(default=64, ge=1)
    """Batch size above which a step takes longer in proportion."""
    prefill_token_s: float = Field(default=0.00005, ge=0.0, le=1.0)
    """Seconds for each prefix token that is not in the KV cache."""
    jitter: float = Field(default=0.1, ge=0.0, le=1.0)
    """Each step takes this share longer or shorter, uniformly at random from the replica's seed."""


class GeneratorConfig(Config):
    """The replicas of one service. All serve the same model, unless `pools` names several."""

    engine: Literal["vllm", "simulated", "none"] = "vllm"
    """`vllm` is the real one, on GPU or CPU. `simulated` writes plausible arithmetic under a time model, for tests and
    capacity planning. `none`: replicas are started by somebody else and connect on their own."""
    model: Path = MODEL_DIR
    """Model directory in Hugging Face layout. The simulated engine reads only its tokenizer and config."""
    chat_template: Path | None = None
    """File with a chat template, Jinja source, for all models; None: the model's own."""
    pools: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Several models by name, each with replicas of its own, all with one tokenizer: for each its `model`, and what of
    this section it has otherwise. Runs say which of them grow their trees. Empty: the one `model`, without a name."""
    replicas: int = Field(default=1, ge=1, le=4096)
    """Engines to run, one Ray actor each."""
    slots: int = Field(default=64, ge=1, le=4096)
    """Requests that one replica decodes at the same time."""
    block_size: int | None = Field(default=None, ge=1, le=1024)
    """Tokens per KV block; None: 16 on a GPU, 32 on CPU, which needs a multiple of 32."""
    kv_cache_gib: float | None = Field(default=None, gt=0.0)
    """KV cache per replica in GiB; None: on a GPU what gpu_memory_utilization leaves, else 1."""
    kv_blocks: int | None = Field(default=None, ge=2)
    """KV blocks per replica, whatever memory there is for more; None: as many as fit."""
    max_model_len: int | None = Field(default=None, ge=2)
    """Longest prompt plus completion in tokens; None: what the model says."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Weights' type; `auto` is what the model's config.json says; on a GPU vLLM then loads float32 as bfloat16, and on
    a CPU without units for bfloat16 all is loaded as float32, which is several times faster there."""
    load_format: Literal["auto", "dummy"] = "auto"
    """`dummy` fills the weights with random numbers: to measure the speed of an architecture without its weights."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Service seed. Every replica and every restart of it samples from a seed derived from this one."""
    stream_interval: int = Field(default=16, ge=1, le=1024)
    """Tokens between two deltas of a request: a boundary is seen at most this many tokens late."""
    gpu_memory_utilization: float = Field(default=0.9, gt=0.0, le=1.0)
    """Share of a GPU's memory that its replica takes."""
    tensor_parallel: int = Field(default=1, ge=1, le=64)
    """GPUs per replica."""
    device: Literal["auto", "gpu", "cpu"] = "auto"
    """What its engines compute on. `auto`: GPUs if a node of the Ray has any."""
    ray: PlacementConfig = Field(default_factory=PlacementConfig)
    """What a replica asks of the node that it runs on."""
    tracing_endpoint: str | None = None
    """OTLP collector that vLLM tells of each request of a traced tree, by gRPC; None: that of tracing.endpoint."""
    metrics: ExporterConfig = Field(default_factory=ExporterConfig)
    """What each replica tells Prometheus."""
    autoscale: AutoscaleConfig = Field(default_factory=AutoscaleConfig)
    """Lets the number of replicas follow what there is to do."""
    ready_replicas: int | None = Field(default=None, ge=1)
    """The service says that it is ready when so many replicas are; None: when all are."""
    logprobs_mode: Literal["processed", "raw"] = "processed"
    """`processed`: of the distribution that was sampled from; `raw`: of the model's own logits. docs/sampling.md."""
    max_top_logprobs: int = Field(default=20, ge=0, le=100)
    """Most top logprobs that a run may ask for."""
    simulated: SimulatedLatency = Field(default_factory=SimulatedLatency)
    """Used by the simulated engine only."""
    start_timeout_s: float = Field(default=600.0, gt=0.0)
    """A replica that has not said Hello after this many seconds is taken for failed."""
    health_interval_s: float = Field(default=5.0, gt=0.0)
    """How often the supervisor probes each replica."""
    health_timeout_s: float = Field(default=30.0, gt=0.0)
    """A ready replica that does not answer a probe for this long is killed and replaced."""

    @model_validator(mode="after")
    def _scales_from_where_it_starts(self) -> "GeneratorConfig":
        least, most = self.autoscale.min, self.autoscale.max
        if most is None or self.pools:  # then each pool is asked
            return self
        if not least <= self.replicas <= most:
            raise ValueError(f"replicas is {self.replicas}, and must be from autoscale.min, {least}, to .max, {most}")
        if least == 0 and self.ready_replicas is not None:
            raise ValueError(
                f"autoscale.min is 0 and ready_replicas is {self.ready_replicas}: a pool that may have no replica "
                "cannot be waited for; set autoscale.min to 1, or leave ready_replicas out"
            )
        return self

    @model_validator(mode="after")
    def _pools_are_whole(self) -> "GeneratorConfig":
        for name, own in self.pools.items():
            if not POOL_NAME.fullmatch(name):
                raise ValueError(
                    f"generator.pools: name {name!r} must be 1 to 32 of a-z, 0-9, '_' and '-', the first a-z or 0-9"
                )
            if unknown := sorted(own.keys() - POOL_KEYS):
                known = ", ".join(sorted(POOL_KEYS))
                raise ValueError(f"generator.pools.{name}.{unknown[0]} is no setting of a pool; those are {known}")
            if "model" not in own:
                raise ValueError(f"generator.pools.{name} has no model; set generator.pools.{name}.model")
            try:
                self._pool(own)
            except ValidationError as error:
                raise ValueError(f"generator.pools.{name}: {describe(error)}") from None
        if self.pools and self.model != MODEL_DIR:
            raise ValueError("generator.model and generator.pools are set; give the model to one of the pools")
        return self

    def fleet(self) -> dict[str, "GeneratorConfig"]:
        """The settings of each pool by its name; "" is the only one where none is named."""
        return {name: self._pool(own) for name, own in self.pools.items()} or {"": self}

    def _pool(self, own: Mapping[str, Any]) -> "GeneratorConfig":
        shared = self.model_dump(exclude={"pools"}, exclude_unset=True)
        return GeneratorConfig.model_validate({**shared, **own})

    def autoscaled(self, kv_share: float) -> dict[str, Terms]:
        """What the law is told of each pool that follows its demand, whose replicas may fill such a share of their KV
        caches."""
        found = {name: pool.autoscale.terms(pool.slots, kv_share) for name, pool in self.fleet().items()}
        return {name: terms for name, terms in found.items() if terms is not None}

    @property
    def most_replicas(self) -> int:
        """How many of all pools there may be at a time."""
        return sum(pool.autoscale.max or pool.replicas for pool in self.fleet().values())

    def model_names(self) -> str:
        """What is served, for records: the model's path, or NAME=PATH for each pool."""
        models = [(name, pool.model.resolve()) for name, pool in self.fleet().items()]
        return ", ".join(f"{name}={model}" if name else str(model) for name, model in models)


def with_tracing(config: GeneratorConfig, tracing: TracingConfig) -> GeneratorConfig:
    """The same configuration, with the service's collector for its engines unless they have one of their own."""
    if config.tracing_endpoint is not None or tracing.endpoint is None or not tracing.ratio:
        return config
    return config.model_copy(update={"tracing_endpoint": tracing.endpoint})
