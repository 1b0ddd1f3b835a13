"""Source: what the API answers from. All methods may block: they are called in threads."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from treeroll.dashboard.decisions import DecisionQuery
from treeroll.dashboard.happenings import HappeningQuery
from treeroll.dashboard.query import TaskQuery, TreeQuery
from treeroll.dashboard.shape import Shape

Json = dict[str, Any]

# Most nodes that one request may ask the texts of.
MOST_NODES = 200
# Characters of a text that are sent unless all of it is asked for.
TEXT_CHARS = 65_536


class Source(Protocol):
    """One place that trees are read from."""

    kind: str
    """"results" or "live"."""

    def about(self) -> Json:
        """What this is, with the pages that it has."""
        ...

    def as_of(self) -> tuple[float, int | None]:
        """When what is said now was true, in seconds since the epoch, and by which epoch of a coordinator."""
        ...

    def runs(self) -> list[Json]:
        """All runs, newest last."""
        ...

    def run(self, run_id: str) -> Json:
        """One with its configuration. UnknownRun."""
        ...

    def tasks(self, query: TaskQuery) -> Json:
        """What became of each of a run's tasks: items, total, behind. UnknownRun."""
        ...

    def live(self) -> tuple[int, Json]:
        """The state of now, and its number, which is another one when there is news. InvalidInput for results."""
        ...

    def history(self) -> Json:
        """Columns of the last quarter of an hour, a value a second. Of results: none."""
        ...

    def feed(self) -> Json:
        """Runs with their consumer groups. InvalidInput for results."""
        ...

    def group(self, run_id: str, group: str) -> Json:
        """The trees that a consumer group has not acknowledged, the oldest first. UnknownRun; InvalidInput for
        results."""
        ...

    def store(self) -> Json:
        """What the store says of itself. InvalidInput for results."""
        ...

    def metrics(self) -> bytes:
        """All metrics of the catalogue, as Prometheus reads them. InvalidInput for results."""
        ...

    def targets(self) -> list[Json]:
        """Replicas that answer Prometheus themselves, as its HTTP service discovery has them. InvalidInput for
        results."""
        ...

    def events(self, query: HappeningQuery) -> Json:
        """What happened to the fleet and the runs, newest first. InvalidInput for results."""
        ...

    def decisions(self, query: DecisionQuery) -> Json:
        """What was decided of trees, newest first: items, cursor, back_to, oldest_at, missing."""
        ...

    def trees(self, query: TreeQuery) -> Json:
        """A page of the trees that match: items, matching, total, cursor."""
        ...

    def tree(self, tree_id: str) -> Json:
        """A tree's header, with what the numbers in its shape stand for. UnknownTree."""
        ...

    def export(self, tree_id: str) -> Iterator[bytes]:
        """All that is known of a tree, as `results.exported` has it. UnknownTree, at once."""
        ...

    def shape(self, tree_id: str) -> Shape:
        """A tree's nodes as columns. UnknownTree."""
        ...

    def nodes(self, tree_id: str, numbers: Sequence[int], *, whole: bool = False) -> list[Json]:
        """Nodes with their texts, which are cut unless `whole`. UnknownTree, UnknownNode."""
        ...

    def find(self, tree_id: str, wanted: str) -> Json:
        """The nodes in whose texts a match ends, by number: items, matching. UnknownTree; InvalidInput for no text."""
        ...

    def path(self, tree_id: str, number: int, *, whole: bool = False) -> list[Json]:
        """The nodes from the root down to one, with their texts. UnknownTree, UnknownNode."""
        ...
