"""One branch on this replica: an engine request whose tokens become segments, and exactly one end."""

import logging
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from itertools import pairwise

from treeroll import clock
from treeroll.errors import BadOutput, EngineError, InvalidInput
from treeroll.generator.delimiter import DelimiterScan
from treeroll.generator.detokenizer import Detokenizer
from treeroll.generator.engine import Delta, Engine, EngineRequest, check_numbers, first_tokens
from treeroll.generator.outbox import Outbox
from treeroll.generator.segmenter import DelimitedSegmenter, Segmenter, SegmentTokens
from treeroll.generator.sequence import GrantSequence
from treeroll.generator.stop_scan import StopScan
from treeroll.pb.v1 import common_pb2 as pb
from treeroll.pb.v1 import replica_pb2 as wire
from treeroll.sampling import Sampling

log = logging.getLogger(__name__)

# How many delimited segments count as one of run-ahead credit: an engine may decode several before it says so.
SHORT_SEGMENTS = 4
ENDS_OF_PATHS = (wire.END_REASON_EOS, wire.END_REASON_STOP, wire.END_REASON_LENGTH)
MAX_ERROR_CHARS = 1000


@dataclass(slots=True)
class Tally:
    """Tokens since the replica started: generated = reported + dropped + what running branches have in no segment."""

    generated: int = 0
    reported: int = 0
    dropped: int = 0


class BranchRequest:
    """Serves one StartBranch. The owner runs `run()` as a task, and passes on stops and acknowledgements."""

    def __init__(
        self,
        start: wire.StartBranch,
        sequence: GrantSequence,
        engine: Engine,
        detokenizer: Detokenizer,
        outbox: Outbox,
        tally: Tally,
        run_ahead: int,
    ) -> None:
        self.grant = start.grant
        self.request_id = f"g{start.grant}"
        self._start = start
        self._sequence = sequence
        self._prefix_tokens = len(sequence.ids)
        self._engine = engine
        self._outbox = outbox
        self._tally = tally
        self._acknowledged = 0
        self._ending: wire.EndReason | None = None  # decided by us; the engine's flushed tokens are still to come
        self._generated = self._reported = 0  # tokens
        self._first = True
        self._ended = False  # and its end reported
        self._cached_tokens: int | None = None
        self._started_at = clock.wall()
        self._text = detokenizer.open(sequence.ids)
        self._held: SegmentTokens | None = None  # reported with the branch's end, as a held path must be
        self._sampling = Sampling.of(start.sampling)
        self._own_stop_ids = frozenset(self._sampling.stop_token_ids) - frozenset(self._sampling.eos_token_ids)
        # Tokens of this request that nothing ends: the path's first ones, as far as the prefix does not have them.
        self._too_early = max(0, self._sampling.min_tokens - (self._prefix_tokens - start.prompt_tokens))
        self._stop_scan = self._open_stop_scan(detokenizer)
        self._segmenter = self._open_segmenter(run_ahead)

    def _open_segmenter(self, run_ahead: int) -> Segmenter:
        start, entropies = self._start, self._start.sampling.top_logprobs > 0
        if not start.HasField("delimiter"):
            boundaries: Sequence[int] = start.boundaries[:1] if start.hold else list(start.boundaries)
            return Segmenter(self._prefix_tokens, boundaries, run_ahead, entropies)
        scan = DelimiterScan(start.delimiter.texts, start.delimiter.token_ids, lambda token: self._text.step((token,)))
        limit = 1 if start.hold else self._credit(run_ahead)
        return DelimitedSegmenter(self._prefix_tokens, list(start.boundaries), limit, scan, entropies)

    def _open_stop_scan(self, detokenizer: Detokenizer) -> StopScan | None:
        if not self._sampling.stop:
            return None
        stream = detokenizer.open(self._sequence.ids)
        before = self._sequence.tail(self._prefix_tokens)
        return StopScan(self._sampling.stop, lambda token: stream.step((token,)), before, self._too_early)

    def acknowledge(self, segments: int, run_ahead: int) -> None:
        """So many more segments of this branch are durable: its credit grows."""
        self._acknowledged += segments
        self._segmenter.limit = self._acknowledged + self._credit(run_ahead)

    def _credit(self, run_ahead: int) -> int:
        return run_ahead * SHORT_SEGMENTS if self._start.HasField("delimiter") else run_ahead

    def stop(self) -> None:
        """End as stopped: nothing more is reported but the end. The caller aborts the request in the engine."""
        if self._ending is None:
            self._ending = wire.END_REASON_STOPPED
            self._sequence.stopped = True

    def abandon(self) -> None:
        """Nobody wants it any more; its task has ended. What is in no segment counts as dropped."""
        if not self._ended:
            self._ended = True
            self._tally.dropped += self._generated - self._reported

    def fail(self, why: str) -> None:
        """Report that it failed, unless its end has been reported. Its task has ended, or is about to."""
        if not self._ended:
            self._ended = True
            dropped = self._generated - self._reported
            self._tally.dropped += dropped
            self._outbox.put(failed(self.grant, why, dropped))

    @property
    def generated_tokens(self) -> int:
        """What the engine has made for it."""
        return self._generated

    async def run(self) -> None:
        """Decode until the branch ends. Raises EngineError when the engine is dead, and nothing else."""
        try:
            request = self._request()
            if not self._is_ending():
                await self._decode(request)
            if self._ending is not None:
                self._report(self._held, self._ending)
            elif not self._ended:
                raise BadOutput("the engine's output stopped without an end")
        except EngineError:
            raise
        except Exception as error:  # whatever it is, the other branches have no part in it
            self.fail(why_failed(error, self.request_id))

    async def _decode(self, request: EngineRequest) -> None:
        async with aclosing(self._engine.generate(request)) as deltas:
            async for delta in deltas:
                self._take(delta)
                if self._is_ending() and delta.finish is None:
                    # Also catches a stop that came before the engine knew the request.
                    await self._engine.abort([self.request_id])

    def _is_ending(self) -> bool:
        return self._ending is not None

    def _request(self) -> EngineRequest:
        start, ends = self._start, list(self._start.boundaries)
        self._check_boundaries(ends)
        max_total = ends[0] if start.hold else start.max_total
        return EngineRequest(
            request_id=self.request_id,
            prefix_ids=self._sequence.ids.tobytes(),
            prompt_tokens=start.prompt_tokens,
            max_total=max_total,
            sampling=replace(self._sampling, min_tokens=min(self._too_early, max_total - self._prefix_tokens)),
            seed=start.seed,
            cache_salt=start.cache_salt,
            priority=start.priority,
            tree_id=start.tree_id,
            traceparent=start.traceparent,
        )

    def _check_boundaries(self, ends: list[int]) -> None:
        first, last = self._prefix_tokens, self._start.max_total
        if self._start.HasField("delimiter"):
            good = first < last and set(ends) == {last}
        else:
            good = ends[-1:] == [last] and all(before < after for before, after in pairwise([first, *ends]))
        if not good:
            raise InvalidInput(f"grant {self.grant}: boundaries must grow from {first} to {last}, got {ends[:8]}")

    def _take(self, delta: Delta) -> None:
        self._generated += len(delta.token_ids)
        self._tally.generated += len(delta.token_ids)
        if self._ending is None or delta.cached_tokens is not None:
            check_numbers(delta, self._prefix_tokens, self._start.sampling.top_logprobs > 0)
        if delta.cached_tokens is not None:
            self._cached_tokens = delta.cached_tokens
        if self._ending is not None:
            return
        segmenter, goes_on = self._segmenter, delta.finish is None
        delta = self._until_stop(delta)
        ready = segmenter.feed(delta)
        end = self._natural_end(delta)
        if end in ENDS_OF_PATHS and (rest := segmenter.remainder()) is not None:
            ready.append(rest)
        for made in ready[:-1]:
            self._report(made)
        if end is not None and goes_on:
            self._held, self._ending = ready[-1] if ready else None, end
        elif end is not None:
            error = f"the engine ended the request with '{delta.finish}'" if end == wire.END_REASON_ERROR else ""
            self._report(ready[-1] if ready else None, end, error)
        elif ready and self._start.hold and segmenter.exhausted:
            self._held, self._ending = ready[-1], wire.END_REASON_HOLD
        elif ready:
            self._report(ready[-1])
            if segmenter.exhausted:
                self._ending = wire.END_REASON_CREDIT

    def _until_stop(self, delta: Delta) -> Delta:
        """The delta, up to the token that completes a stop string if one does."""
        count = self._stop_scan.find(delta.token_ids) if self._stop_scan is not None else None
        if count is None:
            return delta
        return Delta(
            token_ids=delta.token_ids[:count],
            logprobs=delta.logprobs[:count],
            spans=first_tokens(delta.spans, count),
            entropies=delta.entropies[:count] if delta.entropies is not None else None,
            cached_tokens=delta.cached_tokens,
            finish="stop",
        )

    def _natural_end(self, delta: Delta) -> wire.EndReason | None:
        """Why the last delta ends the branch."""
        if delta.finish is None:
            return None
        exhausted, pending = self._segmenter.exhausted, self._segmenter.pending
        if exhausted and self._start.hold and (pending or delta.finish not in ("eos", "stop")):
            return wire.END_REASON_HOLD  # at a delimiter; what came of the request after it does not matter
        if delta.finish not in ("eos", "stop", "length"):
            return wire.END_REASON_ERROR
        if exhausted and pending:
            return wire.END_REASON_CREDIT
        if delta.finish == "stop":
            return wire.END_REASON_STOP
        if delta.finish == "eos":
            own = delta.token_ids[-1] in self._own_stop_ids
            return wire.END_REASON_STOP if own else wire.END_REASON_EOS
        held = self._start.hold and self._start.boundaries[0] < self._start.max_total
        return wire.END_REASON_HOLD if held else wire.END_REASON_LENGTH

    def _report(self, made: SegmentTokens | None, end: wire.EndReason | None = None, error: str = "") -> None:
        segment = wire.Segment(grant=self.grant)
        if self._first:
            segment.tail = self._sequence.tail(self._prefix_tokens)
        if made is not None:
            segment.tokens = made.tokens
            segment.logprob_sum, segment.logprob_min = sum(made.logprobs), min(made.logprobs)
            segment.node = _node(made, self._started_at, self._sequence.parent_chars if self._first else None)
            segment.text = self._text.step(made.token_ids) if made.text is None else made.text
        if self._first and self._cached_tokens is not None:
            segment.cached_tokens = self._cached_tokens
        # Nothing below fails, so that a segment counts as reported, or as dropped, and never as both.
        if made is not None:
            self._sequence.extend(made.token_ids, segment.text)
            self._reported += made.tokens
            self._tally.reported += made.tokens
        self._first, self._ended = False, end is not None
        if end is not None:
            dropped = self._generated - self._reported
            self._tally.dropped += dropped
            segment.end.CopyFrom(wire.BranchEnd(reason=end, dropped_tokens=dropped, error=error))
        self._outbox.put(segment)


def why_failed(error: Exception, request_id: str) -> str:
    """One sentence for the branch's end. What nobody raised on purpose is logged with its traceback."""
    if isinstance(error, InvalidInput):
        return str(error)
    if isinstance(error, BadOutput):
        log.error("request %s: %s", request_id, error)
        return str(error)
    log.error("request %s failed", request_id, exc_info=error)
    text = f"{type(error).__name__}: {' '.join(str(error).split())}"
    return text[:MAX_ERROR_CHARS].encode(errors="replace").decode()


def failed(grant: int, why: str, dropped_tokens: int = 0) -> wire.Segment:
    """The end of a branch whose request failed."""
    return wire.Segment(
        grant=grant, end=wire.BranchEnd(reason=wire.END_REASON_ERROR, error=why, dropped_tokens=dropped_tokens)
    )


def _node(made: SegmentTokens, started_at: float, parent_chars: int | None) -> bytes:
    """What only the replica knows of a segment's node."""
    node = wire.SegmentNode(
        token_ids=made.token_ids.tobytes(),
        logprobs=made.logprobs.tobytes(),
        entropies=made.entropies.tobytes(),
        started_at=started_at,
        finished_at=clock.wall(),
        parent_chars=parent_chars,
        weight_versions=[pb.WeightSpan(version=span.version, tokens=span.tokens) for span in made.spans],
        kv_mixed=any(span.kv_mixed for span in made.spans),
    )
    return node.SerializeToString()
