"""The terminal's dashboard: `treeroll top`. Imports textual, which takes a second: only where somebody watches."""

import time
from typing import Any, ClassVar

from rich.cells import cell_len
from rich.text import Text
from textual import work
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import DataTable, Footer, Input, Static, Tabs
from textual.widgets import Tab as TabLabel

from treeroll.cli.console import counted, plain
from treeroll.cli.top_rows import TABS, Line, Tab, facts
from treeroll.dashboard.sources.live import LiveSource
from treeroll.errors import TreerollError

EVERY_S = 1.0
# Sentences of the verdict that are shown.
SHOWN = 3
KEYS = """1-5, Tab   replicas, runs, trees, feed, events
j k        next, previous row          Enter   all about the row
s S        sort by the next column, the other way round
/          only rows with a text       Esc     back, or all rows
f          follow: stay at the first row
Space      pause, and go on            q       end"""


class Detail(ModalScreen[None]):
    """All about one thing, over the list. Esc leads back."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter", "dismiss", "back"),
        Binding("j", "down", show=False),
        Binding("k", "up", show=False),
    ]
    CSS = "Detail VerticalScroll { border: solid; padding: 0 1; height: 100%; } Detail Static { width: 100%; }"

    def __init__(self, title: str, lines: list[str]) -> None:
        super().__init__()
        self._title, self._lines = title, lines

    def compose(self) -> ComposeResult:
        """A box with its lines, and the keys."""
        box = VerticalScroll(Static(Text("\n".join(self._lines)), markup=False))
        box.border_title = Text(self._title).markup
        yield box
        yield Footer()

    def on_mount(self) -> None:
        """Keys scroll the box."""
        self.query_one(VerticalScroll).focus()

    def action_down(self) -> None:
        """A line down."""
        self.query_one(VerticalScroll).scroll_down(animate=False)

    def action_up(self) -> None:
        """A line up."""
        self.query_one(VerticalScroll).scroll_up(animate=False)


class Top(App[None]):
    """One list at a time, and above it what is wrong. Only cells that change are written again."""

    ENABLE_COMMAND_PALETTE = False
    CSS = """
    #head, #verdict { height: auto; }
    #filter { display: none; border: none; height: 1; padding: 0; }
    DataTable { height: 1fr; scrollbar-size-vertical: 1; }
    DataTable > .datatable--cursor { text-style: reverse bold; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(str(place), f"tab({place - 1})", show=False) for place in range(1, len(TABS) + 1)),
        Binding("tab", "next_tab", "next tab", priority=True),
        Binding("j", "move(1)", show=False),
        Binding("k", "move(-1)", show=False),
        Binding("s", "sort(1)", "sort"),
        Binding("S", "sort(0)", show=False),
        Binding("slash", "filter", "filter"),
        Binding("escape", "all_rows", show=False),
        Binding("f", "follow", "follow"),
        Binding("space", "pause", "pause"),
        Binding("question_mark", "help", "keys"),
        Binding("q", "quit", "end"),
    ]

    def __init__(self, source: LiveSource) -> None:
        super().__init__(ansi_color=True)
        self._source = source
        self._tab: Tab = TABS[0]
        self._sort: tuple[int, bool] | None = None  # column, and whether the largest come first
        self._lines: dict[str, Line] = {}
        self._shown: dict[str, tuple[str, ...]] = {}
        self._widths: list[int] = []
        self._follows = False
        self._paused: float | None = None  # since when, monotonic
        self._trouble = ""

    def compose(self) -> ComposeResult:
        """Head, verdict, tabs, list, keys."""
        yield Static(id="head", markup=False)
        yield Static(id="verdict", markup=False)
        yield Tabs(*(TabLabel(f"{place} {tab.name}", id=tab.name) for place, tab in enumerate(TABS, 1)))
        yield Input(id="filter", placeholder="only rows with this text; Enter keeps it, Esc takes it away")
        yield DataTable(cursor_type="row", zebra_stripes=False)
        yield Footer()

    def on_mount(self) -> None:
        """The first look, and one each second."""
        self.query_one(DataTable).focus()
        self._begin()
        self.set_interval(EVERY_S, self._look)

    def on_tabs_tab_activated(self, event: Tabs.TabActivated) -> None:
        """Another list."""
        self._tab = next(tab for tab in TABS if tab.name == (event.tab.id or ""))
        self._sort = None
        self._begin()
        self.query_one(DataTable).focus()

    def _begin(self) -> None:
        self._lines = {}
        self._arrange()
        self._look(forced=True)

    def _arrange(self) -> None:
        """Columns, and what there is in their order."""
        self._widths = [cell_len(name) for name in self._headings()]
        self._shown = {}
        self._write_anew({})
        self._show()

    def _look(self, *, forced: bool = False) -> None:
        if forced or self._paused is None:
            self._read(self._tab)
        self._say_head()

    @work(thread=True, exclusive=True, group="read")
    def _read(self, tab: Tab) -> None:
        """In a thread: the store may be slow, and keys must not wait for it."""
        try:
            lines, trouble = list(tab.read(self._source)), ""
        except TreerollError as error:
            lines, trouble = None, str(error)
        self.call_from_thread(self._take, tab, lines, trouble)

    def _take(self, tab: Tab, lines: list[Line] | None, trouble: str) -> None:
        self._trouble = trouble
        if tab is self._tab and lines is not None:
            self._lines = {line.key: line for line in lines}
            self._show()
        self._say_head()

    def _say_head(self) -> None:
        state = self._source.live()[1]
        last, age = state["snapshot"], state["age_s"]
        who = f"treeroll {last['version']}  epoch {last['epoch']}  {last['host']}" if last else "treeroll: no news"
        phase = state["phase"]
        if self._paused is not None:
            phase, age = "paused", (age or 0.0) + time.monotonic() - self._paused
        corner = f"{'follows  ' if self._follows else ''}{phase}" + (f" {age:.1f} s" if age is not None else "")
        width = max(20, self.size.width)
        self.query_one("#head", Static).update(f"{plain(who):<{width - len(corner) - 1}} {corner}"[-width:])
        found = [f"{one['severity'].upper()}: {plain(one['sentence'])}" for one in state["verdict"]]
        more = [f"and {counted(len(found) - SHOWN, 'finding')} more"] if len(found) > SHOWN else []
        said = [*found[:SHOWN], *more] or (["all well"] if state["phase"] == "live" else [state["phase"]])
        if self._trouble:
            said.append(f"this list cannot be read: {plain(self._trouble)}")
        self.query_one("#verdict", Static).update("\n".join(said))

    def _ordered(self) -> list[Line]:
        wanted = self.query_one(Input).value.lower()
        lines = [line for line in self._lines.values() if wanted in " ".join(cell.shown for cell in line.cells).lower()]
        if self._sort is not None:
            column, largest_first = self._sort
            lines.sort(key=lambda line: line.cells[column].value, reverse=largest_first)
        return lines

    def _show(self) -> None:
        shown = {line.key: tuple(cell.shown for cell in line.cells) for line in self._ordered()}
        # As wide as anything was that stood in them: by itself textual widens columns only when it has nothing to do.
        widths = [max(map(cell_len, texts)) for texts in zip(*shown.values(), strict=True)] or self._widths
        widths = [max(pair) for pair in zip(widths, self._widths, strict=True)]
        if list(shown) == list(self._shown) and widths == self._widths:
            self._write(shown)
        else:
            self._widths = widths
            self._write_anew(shown)
        self._shown = shown

    def _write(self, shown: dict[str, tuple[str, ...]]) -> None:
        """The same rows: what has changed in them."""
        table: DataTable[Any] = self.query_one(DataTable)
        for key, cells in shown.items():
            for place, text in enumerate(cells):
                if text != self._shown[key][place]:
                    table.update_cell(key, str(place), self._cell(place, text))

    def _write_anew(self, shown: dict[str, tuple[str, ...]]) -> None:
        table: DataTable[Any] = self.query_one(DataTable)
        chosen = self._chosen()
        table.clear(columns=True)
        for place, (name, width) in enumerate(zip(self._headings(), self._widths, strict=True)):
            table.add_column(self._cell(place, name), width=width, key=str(place))
        for key, cells in shown.items():
            table.add_row(*(self._cell(place, text) for place, text in enumerate(cells)), key=key)
        if not self._follows and chosen in shown:
            table.move_cursor(row=list(shown).index(chosen), animate=False)

    def _headings(self) -> list[str]:
        marks = {} if self._sort is None else {self._sort[0]: " v" if self._sort[1] else " ^"}
        return [name.lstrip(">") + marks.get(place, "") for place, name in enumerate(self._tab.columns)]

    def _cell(self, place: int, text: str) -> Text:
        return Text(text, justify="right" if self._tab.columns[place].startswith(">") else "left")

    def _chosen(self) -> str:
        row, keys = self.query_one(DataTable).cursor_row, list(self._shown)
        return keys[row] if 0 <= row < len(keys) else ""

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """Enter: all about it."""
        line = self._lines.get(str(event.row_key.value))
        if line is not None:
            self._open(self._tab, line)

    @work(thread=True, exclusive=True, group="open")
    def _open(self, tab: Tab, line: Line) -> None:
        try:
            more = tab.more(self._source, line.about)
        except TreerollError as error:
            more = [plain(str(error))]
        name = f"{tab.name}: {plain(line.key)}"
        self.call_from_thread(self.push_screen, Detail(name, [*facts(line.about), *([""] if more else []), *more]))

    def on_input_changed(self, event: Input.Changed) -> None:
        """Rows that have it, as it is typed."""
        self._show()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Back to the rows that are left."""
        self.query_one(DataTable).focus()

    def action_tab(self, place: int) -> None:
        """The list with this number."""
        self.query_one(Tabs).active = TABS[place].name

    def action_next_tab(self) -> None:
        """The next list."""
        self.action_tab((TABS.index(self._tab) + 1) % len(TABS))

    def action_move(self, by: int) -> None:
        """So many rows down."""
        table = self.query_one(DataTable)
        table.move_cursor(row=table.cursor_row + by, animate=False)

    def action_sort(self, on: int) -> None:
        """By the next column, or by the same one the other way round."""
        if self._sort is None:
            self._sort = (0, False)
        elif on:
            column = (self._sort[0] + 1) % len(self._tab.columns)
            self._sort = (column, self._tab.columns[column].startswith(">"))
        else:
            self._sort = (self._sort[0], not self._sort[1])
        self._arrange()

    def action_filter(self) -> None:
        """Type a text that rows must have."""
        field = self.query_one(Input)
        field.display = True
        self.screen.set_focus(field)  # at once, or what is typed meanwhile goes to the list

    def action_all_rows(self) -> None:
        """All rows again."""
        field = self.query_one(Input)
        field.display = False
        field.value = ""
        self.query_one(DataTable).focus()

    def action_follow(self) -> None:
        """Stay at the first row, or where one is."""
        self._follows = not self._follows
        if self._follows:
            self.query_one(DataTable).move_cursor(row=0, animate=False)
        self._say_head()

    def action_pause(self) -> None:
        """Nothing changes until one goes on."""
        self._paused = time.monotonic() if self._paused is None else None
        self._look()

    def action_help(self) -> None:
        """What keys do."""
        self.push_screen(Detail("keys", KEYS.splitlines()))
