"""The table of faults of docs/guarantees.md, from its lines and from what was measured of them last.

    python -m treeroll.chaos.fault_page docs/guarantees.md

puts it there anew.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from treeroll.chaos.fault_lines import LINES, Line
from treeroll.chaos.table import ROWS

BEGIN, END = "<!-- faults -->", "<!-- /faults -->"
# Beside the page: row -> what was measured, as `scripts/chaos --table --out` writes it.
FIGURES = Path("results/faults.json")
HEAD = "| | fault | promised | measured | verdict |\n|---|---|---|---|---|\n"


def filled(page: str, figures: dict[str, dict[str, str]]) -> str:
    """The page with the table between its marks. ValueError if it has none."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no {BEGIN} and {END}, between which the table goes")
    return f"{before}{BEGIN}\n{HEAD}{''.join(_line(line, figures) for line in LINES)}{END}{after}"


def _line(line: Line, figures: dict[str, dict[str, str]]) -> str:
    titles = [row.title for row in ROWS if row.number == line.number]
    found = [(title, figures.get(title)) for title in titles]
    measured = [f"`{title}`: {_told(figure) if figure else 'not measured yet'}" for title, figure in found]
    verdicts = dict.fromkeys(figure["verdict"] if figure else "-" for _, figure in found)
    cells = [str(line.number), line.fault, line.target, "; ".join([*measured, *_some(line.elsewhere)]), _said(verdicts)]
    return f"| {' | '.join(cells)} |\n"


def _told(figure: dict[str, str]) -> str:
    """The figures of a row that there are."""
    parts = [f"stall {figure['stall s']} s", f"recovery {figure['recovery s']} s"]
    if figure["re-granted"] != "0":
        after = "" if figure["after s"] == "-" else f" after {figure['after s']} s"
        parts.append(f"{figure['re-granted']} branches granted again{after}")
    if figure["again"] not in ("-", "0"):
        parts.append(f"{figure['again']} tokens decoded again")
    if figure["others"] != "-":
        parts.append(f"others {figure['others']}")
    return ", ".join(part for part in parts if not part.endswith(" - s"))


def _said(verdicts: Sequence[str] | dict[str, None]) -> str:
    if not verdicts:
        return ""
    return "kept" if [*verdicts] == ["kept"] else "; ".join(verdict for verdict in verdicts if verdict != "kept")


def _some(text: str) -> list[str]:
    return [text] if text else []


def main(page: str) -> None:
    """Put the table into this file."""
    file = Path(page)
    file.write_text(filled(file.read_text(), json.loads((file.parent / FIGURES).read_text())))


if __name__ == "__main__":
    main(*sys.argv[1:])
