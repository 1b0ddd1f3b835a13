"""Makes spans and hands them to an exporter, in threads: who has something to say puts it into a queue."""

import logging
import os
import queue
import socket
import threading
from collections.abc import Iterable

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter

from treeroll import __version__
from treeroll.errors import InvalidInput
from treeroll.records.assemble import as_stored
from treeroll.sparing_log import Sparing
from treeroll.store.base import StoredTree
from treeroll.tracing import spans

log = logging.getLogger(__name__)
log.addFilter(Sparing())

# Trees and deliveries that wait for the thread; more are left out, and said to be.
MOST_WAITING = 512
PROTOCOL = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"
# How long a collector that takes nothing may hold up an end, twice.
END_S = 3.0


class Recorder:
    """What is put here becomes spans. Belongs to a service; `stop` sends what there is."""

    def __init__(self, exporter: SpanExporter) -> None:
        service = {"service.name": "treeroll", "service.version": __version__}
        self._resource = Resource.create(service | {"service.instance.id": f"{socket.gethostname()}:{os.getpid()}"})
        self._processor = BatchSpanProcessor(exporter)
        self._waiting: queue.Queue[tuple[StoredTree, str] | spans.Delivered | None] = queue.Queue(MOST_WAITING)
        self.left_out = 0
        """Trees and deliveries that found the queue full."""
        self._thread = threading.Thread(target=self._work, name="traces", daemon=True)
        self._thread.start()

    def put(self, what: tuple[StoredTree, str] | spans.Delivered) -> None:
        """A tree that has ended, with the traceparent of who submitted its task; or a delivery. Waits for nothing."""
        try:
            self._waiting.put_nowait(what)
        except queue.Full:
            self.leave_out()

    def leave_out(self) -> None:
        """Something has no trace, because more came than can be told."""
        self.left_out += 1
        log.warning("traces of %d trees and deliveries were left out: more came than can be told", self.left_out)

    def flush(self) -> None:
        """Return once all that was put here before is with the exporter. Blocks."""
        self._waiting.join()
        self._processor.force_flush()

    def stop(self) -> None:
        """Send what there is, for a few seconds at most, and end. Blocks."""
        try:
            self._waiting.put(None, timeout=END_S)
        except queue.Full:
            return
        self._thread.join(END_S)
        # It waits for half a minute where nobody takes its spans; nobody else should.
        ending = threading.Thread(target=self._processor.shutdown, name="traces-end", daemon=True)
        ending.start()
        ending.join(END_S)

    def _work(self) -> None:
        while (what := self._waiting.get()) is not None:
            try:
                for span in self._spans(what):
                    self._processor.on_end(span)
            except Exception:  # of this tree alone
                log.exception("a tree has no trace")
            finally:
                self._waiting.task_done()
        self._waiting.task_done()

    def _spans(self, what: tuple[StoredTree, str] | spans.Delivered) -> Iterable[ReadableSpan]:
        if isinstance(what, spans.Delivered):
            return (spans.of_delivery(what, self._resource),)
        stored, submitted_by = what
        return spans.of_tree(as_stored(stored), submitted_by, self._resource)


def recorder_at(endpoint: str) -> Recorder:
    """One that sends to a collector. InvalidInput for a protocol that there is not."""
    return Recorder(_exporter(endpoint))


def _exporter(endpoint: str) -> SpanExporter:
    protocol = os.environ.get(PROTOCOL, "grpc")
    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as OverGrpc

        return OverGrpc(endpoint=endpoint)
    if protocol == "http/protobuf":
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as OverHttp

        return OverHttp(endpoint=endpoint)
    raise InvalidInput(f"{PROTOCOL} is {protocol!r}: it must be grpc or http/protobuf")
