"""A replica's KV cache in virtual time: segments, shared by all paths through them, least recently used out first.

As in an engine with prefix caching, what a running request holds is never evicted, and a path's tail goes before its
head. So whatever is resident has a resident parent, and the missing part of a path is always its end.
"""

from collections import OrderedDict


class Span:
    """The tokens of one segment, or of a prompt (no parent). `total` is the length of the path at its end."""

    __slots__ = ("held", "home", "parent", "tokens", "total")

    def __init__(self, parent: "Span | None", tokens: int, home: "VirtualKv | None" = None) -> None:
        """`home` is the cache of the replica that generates it."""
        self.parent = parent
        self.tokens = tokens
        self.total: int = tokens if parent is None else parent.total + tokens
        self.home = home
        self.held = 1
        """At home: requests that end in it, plus held children. There are many spans, and a dict's entry is larger."""


class VirtualKv:
    """Which spans one replica has. `capacity` is in tokens, and must hold all that run: nothing is preempted."""

    __slots__ = ("_block", "_capacity", "_guests", "_idle", "_used")

    def __init__(self, capacity: int, block_size: int) -> None:
        self._capacity = capacity
        self._block = block_size
        self._guests: dict[Span, int] = {}  # as Span.held, of prompts and of what other replicas generated
        self._idle: OrderedDict[Span, None] = OrderedDict()  # oldest first
        self._used = 0  # tokens of both

    def hold(self, tip: Span) -> int:
        """Start a request from the end of a path. Returns the prefix tokens that must be computed, at least one.

        A hit covers whole blocks up to the last token but one, whose logits the engine needs.
        """
        guests, idle = self._guests, self._idle
        missing = 0
        span: Span | None = tip
        while span is not None:
            if span.home is self:
                count = span.held
                span.held = count + 1
            else:
                count = guests.get(span, 0)
                guests[span] = count + 1
            if count:
                break
            if span in idle:
                del idle[span]
            else:
                missing += span.tokens
            span = span.parent
        if missing:
            self._used += missing
            self._evict()
        return max(missing, (tip.total - 1) % self._block + 1)

    def extend(self, tip: Span, tokens: int) -> Span:
        """The request that holds `tip` goes on for `tokens`; from now on it holds the new span."""
        self._used += tokens
        if self._used > self._capacity:
            self._evict()
        return Span(tip, tokens, self)

    def release(self, tip: Span) -> None:
        """The request is over: what nobody else holds may be evicted, its end first."""
        guests, idle = self._guests, self._idle
        span: Span | None = tip
        while span is not None:
            if span.home is self:
                span.held -= 1
                if span.held:
                    return
            elif guests[span] > 1:
                guests[span] -= 1
                return
            else:
                del guests[span]
            idle[span] = None
            span = span.parent

    def _evict(self) -> None:
        while self._used > self._capacity and self._idle:
            span, _ = self._idle.popitem(last=False)
            self._used -= span.tokens
