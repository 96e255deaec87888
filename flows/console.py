"""What a person sees in the terminal while a flow runs: a progress bar a step, then short tables."""

import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

# Without emoji: a cell such as root:x:0 is no picture.
OUT = Console(highlight=False, emoji=False)
ERR = Console(stderr=True, highlight=False, emoji=False)


@dataclass(frozen=True, kw_only=True)
class Screen:
    """What the terminal shows of a result, from top to bottom; a part that is left empty is left out.

    Parameters
    ----------
    sentences : sequence of str
    grids : mapping of str to sequence of mappings
        By title: rows with a heading a column.
    notes : sequence of str
        Sentences below the grids.
    tables : mapping of str to mapping
        By title: what, and how much or where.
    commands : sequence of str
        What a person may run next.
    """

    sentences: Sequence[str] = ()
    grids: Mapping[str, Sequence[Mapping[str, str]]] = field(default_factory=dict)
    notes: Sequence[str] = ()
    tables: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    commands: Sequence[str] = ()

    @property
    def text(self) -> str:
        """The same as plain text, without the commands."""
        lines = [*self.sentences]
        for title, rows in self.grids.items():
            lines += [
                "",
                title,
                *(", ".join(f"{name}: {value}" for name, value in row.items()).replace("\n", " ") for row in rows),
            ]
        lines += self.notes
        for title, values in self.tables.items():
            texts = (f"{value:,}" if isinstance(value, int) else str(value) for value in values.values())
            lines += ["", title, *(f"  {name}: {text}" for name, text in zip(values, texts, strict=True))]
        return "\n".join(map(_plain, lines)).strip()


_progress: Progress | None = None
_waiting: TaskID | None = None
_seconds: dict[str, float] | None = None


def _safe(text: str) -> str:
    """Return a text, from data or not, as Rich takes it: plain, and no markup."""
    return escape(_plain(text))


@contextmanager
def live(wait_for: str = "") -> Iterator[None]:
    """Show the steps that run inside, the first of them what they wait for; without it, flows run silently."""
    global _progress, _waiting
    with Progress(
        SpinnerColumn(finished_text="[green]✓"),
        TextColumn("{task.description}"),
        BarColumn(bar_width=28),
        TextColumn("{task.fields[done]}"),
        TimeElapsedColumn(),
        console=OUT,
    ) as _progress:
        _waiting = _progress.add_task(wait_for, total=None, done="") if wait_for else None
        try:
            yield
        finally:
            started()
            _progress = None


def started() -> None:
    """Take the first bar, that of what the steps wait for, as done."""
    global _waiting
    if _progress is not None and _waiting is not None:
        _progress.update(_waiting, total=1, completed=1)
    _waiting = None


@contextmanager
def step(title: str, total: int | None = None, unit: str = "rows") -> Iterator[Callable[[int], None]]:
    """Show one step; call the value with how many rows (or epochs) are done since the last call."""
    started()
    with _timed(title):
        yield from _shown(title, total, unit)


@contextmanager
def timing() -> Iterator[Mapping[str, float]]:
    """Give the seconds of each step that ends inside, by its title; of several with one title, all together."""
    global _seconds
    outer, _seconds = _seconds, {}
    try:
        yield _seconds
    finally:
        _seconds = outer


@contextmanager
def _timed(title: str) -> Iterator[None]:
    seconds, start = _seconds, perf_counter()
    try:
        yield
    finally:
        if seconds is not None:
            seconds[title] = seconds.get(title, 0.0) + perf_counter() - start


def _shown(title: str, total: int | None, unit: str) -> Iterator[Callable[[int], None]]:
    if _progress is None:
        yield lambda count: None
        return
    progress, position, title = _progress, 0, _safe(title)
    bar = progress.add_task(title, total=total, done="")

    def advance(count: int) -> None:
        nonlocal position
        position += count
        progress.update(bar, completed=position, done=f"{position:,} {unit}")

    try:
        yield advance
    except BaseException:
        progress.update(bar, description=f"[red]{title}")
        raise
    progress.update(bar, total=max(position, 1), completed=max(position, 1))


@contextmanager
def silent() -> Iterator[None]:
    """Show no steps inside: what runs there is part of one that is shown."""
    global _progress
    outer, _progress = _progress, None
    try:
        yield
    finally:
        _progress = outer


def table(title: str, rows: Mapping[str, object]) -> None:
    """Print two columns: what, and how much or where. Sentences wrap; a path stays on one line, to be copied."""
    OUT.print(f"\n[bold]{_safe(title)}[/bold]")
    wide = max((len(_plain(name)) for name in rows), default=0) + 2
    for name, value in rows.items():
        text = f"{value:,}" if isinstance(value, int) else str(value).removeprefix(f"{Path.cwd()}/")
        room = max(OUT.width - wide - 2, 40)
        lines = textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False) or [""]
        for number, line in enumerate(lines):
            label = "" if number else _plain(name)
            OUT.print(f"  [dim]{escape(label.ljust(wide))}[/dim]{_safe(line)}", soft_wrap=True)


def columns(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table of several columns."""
    from rich.table import Table

    layout = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name in header:
        layout.add_column(_safe(name), overflow="fold")
    for row in rows:
        layout.add_row(*map(_safe, row))
    OUT.print(f"\n[bold]{_safe(title)}[/bold]")
    OUT.print(Padding(layout, (0, 0, 0, 2)))


def grid(title: str, rows: Sequence[Mapping[str, str]]) -> None:
    """Print a table with a heading a column, the first to the left; a cell's second line is dim. No line is cut."""
    OUT.print(f"\n[bold]{_safe(title)}[/bold]")
    names = list(map(_plain, rows[0])) if rows else []
    lines = [(names, "dim"), *((part, style) for row in rows for part, style in _two_lines(list(row.values())))]
    wide = [max(len(cells[place]) for cells, _ in lines) for place in range(len(names))]
    gap = "  " if sum(wide) + 2 * len(wide) < OUT.width else " "
    for cells, style in lines:
        padded = [text.rjust(wide[place]) if place else text.ljust(wide[0]) for place, text in enumerate(cells)]
        OUT.print(f"  {escape(gap.join(padded).rstrip())}", style=style, soft_wrap=True)


def _two_lines(cells: list[str]) -> list[tuple[list[str], str]]:
    """Return the first line of each cell, and the second ones where there are any, each with its style."""
    first, second = ([_plain(cell.partition("\n")[place]) for cell in cells] for place in (0, 2))
    return [(first, ""), (second, "dim")] if any(second) else [(first, "")]


def show(screen: Screen) -> None:
    """Print a result."""
    for text in screen.sentences:
        say(text)
    for title, lines in screen.grids.items():
        grid(title, lines)
    for text in screen.notes:
        say(f"\n{text}")
    for title, rows in screen.tables.items():
        table(title, rows)
    if screen.commands:
        commands("Next", screen.commands)


def say(text: str) -> None:
    """Print a line, after as many empty ones as line ends that it begins with."""
    lines = text.lstrip("\n")
    OUT.print("\n" * (len(text) - len(lines)) + _safe(lines), soft_wrap=True)


def commands(title: str, lines: Sequence[str]) -> None:
    """Print commands that a person may copy, one a line, never wrapped."""
    OUT.print(f"\n[bold]{_safe(title)}[/bold]")
    for line in lines:
        OUT.print(f"  {_safe(line.replace(f' {Path.cwd()}/', ' '))}", soft_wrap=True)


def error(text: str) -> None:
    """Print an error, in one sentence, to standard error."""
    ERR.print(f"[bold red]Error:[/bold red] {_safe(text)}", soft_wrap=True)


def warning(text: str) -> None:
    """Print a warning to standard error."""
    ERR.print(f"[yellow]Warning:[/yellow] {_safe(text)}", soft_wrap=True)


def _plain(text: str) -> str:
    # Late: what is imported in place of our own packages is told before any of them is used.
    from pipeline.errors import plain

    return plain(text)
