"""The exact choice of paths as an integer program, solved by HiGHS."""

import importlib
from typing import Any, Final

from treeroll.errors import InvalidInput
from treeroll.policies.branch.ets_problem import Problem

# Nodes of the search tree after which the solver gives up. No clock: the same program ends the same way everywhere.
MAX_SEARCH_NODES: Final = 100
# One thread, one seed: the solver is a function of the program. No gap: the best choice, not a near one.
OPTIONS: Final = {
    "output_flag": False,
    "threads": 1,
    "parallel": "off",
    "random_seed": 0,
    "mip_rel_gap": 0.0,
    "mip_abs_gap": 1e-7,
    "mip_max_nodes": MAX_SEARCH_NODES,
}


class IntegerProgram:
    """Solves problems with coverage. Raises InvalidInput where the package highspy is not installed."""

    def __init__(self) -> None:
        try:
            # Here, not at the top: most processes never solve one.
            self._highs: Any = importlib.import_module("highspy")
        except ImportError as error:
            raise InvalidInput(
                f"branch policy 'ets' needs the package highspy for coverage above 0: {error}; install "
                "treeroll[service], or set coverage to 0"
            ) from None

    def solve(self, problem: Problem) -> list[int] | None:
        """The best paths to keep, in order; None if the search was given up."""
        solver = self._highs.Highs()
        for option, value in OPTIONS.items():
            solver.setOptionValue(option, value)
        solver.passModel(self._model(problem))
        solver.run()
        if solver.getModelStatus() != self._highs.HighsModelStatus.kOptimal:
            return None
        values = solver.getSolution().col_value
        return [path for path in range(len(problem.leaves)) if values[path] > 0.5]

    def _model(self, problem: Problem) -> Any:
        """Columns: paths, then all nodes but the prompt, then clusters. Only paths need to be told to be whole."""
        highs, paths, nodes = self._highs, len(problem.leaves), len(problem.parents)
        clusters = max(problem.clusters) + 1
        # What single nodes and paths are worth is near 1 then, and tolerances are far below.
        scale = nodes / max(1.0, problem.price, problem.coverage)
        costs = [scale * share for share in problem.shares]
        costs += [-scale * problem.price * cost for cost in problem.costs[1:]]
        costs += [scale * problem.new_cluster] * clusters
        rows = _Rows()
        for path, leaf in enumerate(problem.leaves):
            rows.add(0.0, [(_node(paths, leaf), 1.0), (path, -1.0)])
        for node in range(1, nodes):
            if parent := problem.parents[node]:
                rows.add(0.0, [(_node(paths, parent), 1.0), (_node(paths, node), -1.0)])
        members: list[list[int]] = [[] for _ in range(clusters)]
        for path, cluster in enumerate(problem.clusters):
            members[cluster].append(path)
        for cluster, inside in enumerate(members):
            rows.add(0.0, [(paths + nodes - 1 + cluster, -1.0), *((path, 1.0) for path in inside)])
        rows.add(1.0, [(path, 1.0) for path in range(paths)])
        model = highs.HighsLp()
        model.num_col_, model.num_row_ = len(costs), len(rows.least)
        model.sense_ = highs.ObjSense.kMaximize
        model.col_cost_, model.col_lower_, model.col_upper_ = costs, [0.0] * len(costs), [1.0] * len(costs)
        model.row_lower_, model.row_upper_ = rows.least, [highs.kHighsInf] * len(rows.least)
        model.a_matrix_.format_ = highs.MatrixFormat.kRowwise
        model.a_matrix_.start_, model.a_matrix_.index_, model.a_matrix_.value_ = rows.start, rows.index, rows.value
        kinds = highs.HighsVarType
        model.integrality_ = [kinds.kInteger] * paths + [kinds.kContinuous] * (len(costs) - paths)
        return model


def _node(paths: int, node: int) -> int:
    """Column of a node; the prompt, which is always kept, has none."""
    return paths + node - 1


class _Rows:
    """Sums that must not be below `least`, row by row."""

    def __init__(self) -> None:
        self.least: list[float] = []
        self.start, self.index, self.value = [0], list[int](), list[float]()

    def add(self, least: float, terms: list[tuple[int, float]]) -> None:
        self.least.append(least)
        self.index += [column for column, _ in terms]
        self.value += [factor for _, factor in terms]
        self.start.append(len(self.index))
