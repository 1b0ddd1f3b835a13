"""A picture of what trainers of these examples learned:

python -m treeroll.examples.curve runs/flat runs/treepo --png learning.png
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from treeroll.errors import InvalidInput
from treeroll.examples.learning_log import read_curve

SIZE = (6.4, 4.0)  # inches
DPI = 150
COLOURS = ("#1f77b4", "#d95f02", "#2ca02c", "#7b4fa3")
MARKERS = "osD^"  # as well as colours: a picture may be printed, or seen by somebody who tells few colours apart


def draw(folders: Sequence[Path], png: Path) -> None:
    """Held-out reward over minutes, and fainter that of the trees trained on, one colour per folder.

    InvalidInput without matplotlib, or if no folder has a curve.
    """
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        raise InvalidInput("pictures need matplotlib, which is not installed: install treeroll[plots]") from None
    curves = {folder.name: rows for folder in folders if (rows := read_curve(folder))}
    if not curves:
        raise InvalidInput(f"there is no curve.csv with a row in {', '.join(map(str, folders))}")
    figure = Figure(figsize=SIZE, dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    for (name, rows), colour, marker in zip(curves.items(), COLOURS, MARKERS, strict=False):
        minutes = [row["seconds"] / 60 for row in rows]
        held_out = [row["held_out_reward"] for row in rows]
        axes.plot(minutes, held_out, color=colour, marker=marker, markersize=4, label=f"{name}, held-out tasks")
        axes.plot(
            minutes[1:], [row["reward"] for row in rows[1:]],
            color=colour, alpha=0.4, linewidth=1, label=f"{name}, trees trained on",
        )  # fmt: skip
    axes.set_xlabel("minutes of training, evaluations included")
    axes.set_ylabel("mean reward")
    axes.legend(frameon=False, fontsize=9)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(png)


def main() -> None:
    """Draw the folders that are named."""
    parser = argparse.ArgumentParser(description="Draw the curves of trainers.")
    parser.add_argument("folders", nargs="+", type=Path, help="what was --out of each trainer")
    parser.add_argument("--png", type=Path, required=True, help="file to write")
    arguments = parser.parse_args()
    draw(arguments.folders, arguments.png)


if __name__ == "__main__":
    main()
