"""An OTLP collector that counts what it gets and keeps nothing but names: what traces cost is measured against it.

It runs in a thread of its own, so of the process that it is in.
"""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1 import trace_pb2


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Listens on a free port of loopback while it is entered."""

    def __init__(self, *, keep: bool = False) -> None:
        """`keep`: whether spans are kept in `spans`."""
        self.counts: Counter[str] = Counter()
        """Spans by name."""
        self.spans: list[trace_pb2.Span] = []
        self.endpoint = ""
        self._keep = keep
        self._news = threading.Condition()
        self._server = grpc.server(ThreadPoolExecutor(1))

    def __enter__(self) -> "Collector":
        add: Any = trace_service_pb2_grpc.add_TraceServiceServicer_to_server
        add(self, self._server)
        self.endpoint = f"http://127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.stop(None).wait()

    def Export(self, request: Any, context: Any) -> Any:
        """One batch of spans."""
        found = [span for resource in request.resource_spans for scope in resource.scope_spans for span in scope.spans]
        with self._news:
            self.counts.update(span.name for span in found)
            self.spans += found if self._keep else []
            self._news.notify_all()
        return trace_service_pb2.ExportTraceServiceResponse()

    def wait_for(self, name: str, count: int, timeout_s: float) -> bool:
        """Whether so many spans of a name came within the time. Blocks."""
        with self._news:
            return self._news.wait_for(lambda: self.counts[name] >= count, timeout_s)
