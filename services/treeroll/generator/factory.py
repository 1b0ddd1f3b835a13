"""From configuration to an engine."""

from treeroll.errors import InvalidInput
from treeroll.generator.config import GeneratorConfig
from treeroll.generator.detokenizer import Detokenizer
from treeroll.generator.engine import Engine
from treeroll.generator.simulated_engine import SimulatedEngine
from treeroll.tokenizer import Tokenizer
from treeroll.tree.rng import hash64

CPU_BLOCK_SIZE = 32
# What the simulated engine's cache holds per GiB; as a 7B model with grouped-query attention in bfloat16 does, about.
SIMULATED_TOKENS_PER_GIB = 16_384


def engine_seed(service_seed: int, replica_id: str, incarnation: int) -> int:
    """Seed of one incarnation of one replica, 31 bits: no two replicas, and no restart, sample the same noise."""
    return hash64(service_seed, "engine", replica_id, incarnation) >> 33


def make_engine(config: GeneratorConfig, detokenizer: Detokenizer, replica_id: str, incarnation: int) -> Engine:
    """The configured engine, not started. Imports vLLM only when it is asked for."""
    seed = engine_seed(config.seed, replica_id, incarnation)
    if config.engine == "vllm":
        from treeroll.generator.vllm_engine import VllmEngine

        return VllmEngine(config, seed)
    if config.engine == "simulated":
        return SimulatedEngine(
            detokenizer.tokenizer,
            model=str(config.model),
            slots=config.slots,
            block_size=config.block_size or CPU_BLOCK_SIZE,
            kv_tokens=int((config.kv_cache_gib or 16.0) * SIMULATED_TOKENS_PER_GIB),
            max_model_len=config.max_model_len or Tokenizer.load(config.model).max_model_len,
            stream_interval=config.stream_interval,
            latency=config.simulated,
            seed=seed,
            logprobs_mode=config.logprobs_mode,
        )
    raise InvalidInput(f"generator.engine is '{config.engine}': there is no engine to start")
