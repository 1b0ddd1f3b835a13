"""What one round of one variant did: requests and samples become figures."""

from collections import defaultdict
from dataclasses import dataclass, field

from treeroll import clock
from treeroll.bench.rounds import Figures


@dataclass(slots=True)
class Meter:
    """Counts. Create it when the round starts."""

    began: float = field(default_factory=clock.monotonic)
    """Seconds of the monotonic clock."""
    samples: int = 0
    sample_tokens: int = 0
    """Completion tokens of all samples, shared ones once per sample."""
    generated: int = 0
    """Tokens that engines generated and kept."""
    wasted: int = 0
    """Tokens that engines generated and nobody wanted."""
    requests: int = 0
    prefix_tokens: int = 0
    """Figures of all requests."""
    uncached: int = 0
    """Prefix tokens that engines had to compute."""
    forks: int = 0
    """Requests that begin below the prompt."""
    fork_uncached: int = 0
    first_s: float | None = None
    last_s: float = 0.0
    _prompts: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def request(self, tree: str, prefix: int, cached: int, *, at_prompt: bool) -> None:
        """One engine request found `cached` of its `prefix` tokens in the KV cache."""
        self.requests += 1
        self.prefix_tokens += prefix
        self.uncached += prefix - cached
        if at_prompt:
            self._prompts[tree] = max(self._prompts[tree], prefix - cached)
        else:
            self.forks += 1
            self.fork_uncached += prefix - cached

    def sampled(self, tokens: int) -> None:
        """One finished sample of so many completion tokens is in the caller's hands."""
        self.sample_tokens += tokens
        self.arrived(1)

    def arrived(self, samples: int) -> None:
        """So many finished samples are in the caller's hands; their tokens are counted elsewhere."""
        self.samples += samples
        self.last_s = clock.monotonic() - self.began
        if self.first_s is None:
            self.first_s = self.last_s

    @property
    def recomputed(self) -> int:
        """Prefix tokens computed more than once: every prompt has to be computed once."""
        return self.uncached - sum(self._prompts.values())

    def figures(self) -> Figures:
        """Everything that was counted, and what follows from it."""
        figures = {
            "samples": self.samples,
            "generated_tokens": self.generated,
            "wasted_tokens": self.wasted,
            "requests": self.requests,
            "prefix_tokens": self.prefix_tokens,
            "uncached_tokens": self.uncached,
            "recomputed_tokens": self.recomputed,
            "first_sample_s": self.first_s or 0.0,
            "last_sample_s": self.last_s,
        }
        if self.last_s:
            figures["samples_per_s"] = self.samples / self.last_s
            figures["tokens_per_s"] = self.generated / self.last_s
        if self.generated:
            figures["sharing"] = self.sample_tokens / self.generated
        if self.forks:
            figures["recomputed_per_fork"] = self.fork_uncached / self.forks
        return figures


def sharing_efficiency(tree: Figures, flat: Figures) -> float:
    """(tree samples/s : flat samples/s) / (flat tokens : tree tokens), per sample; 1.0 is what sharing alone allows."""
    faster = tree["samples_per_s"] / flat["samples_per_s"]
    cheaper = (flat["generated_tokens"] / flat["samples"]) / (tree["generated_tokens"] / tree["samples"])
    return faster / cheaper
