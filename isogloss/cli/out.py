"""The one place that prints: data to stdout, everything else to stderr.

Bars are drawn only where stderr is a terminal; ``NO_COLOR`` is heeded (by rich); meaning is never
carried by colour alone.
"""

from __future__ import annotations

import contextlib
import json as json_
import math
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from isogloss.progress import Report, silent

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

Json = Annotated[bool, typer.Option("--json", help="Print JSON data instead of text.")]
"""The option that every command has."""

_PATIENCE = 2.0
"""Seconds of work before a bar is worth drawing."""


def group(text: str) -> typer.Typer:
    """A noun of the command line."""
    return typer.Typer(
        no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False, help=text
    )


def line(text: str) -> None:
    """One line of data on stdout."""
    sys.stdout.write(text + "\n")


def show(data: Any, text: Callable[[], RenderableType], *, json: bool) -> None:
    """Data on stdout: as JSON, or as what ``text`` makes for a person."""
    if json:
        line(json_.dumps(_finite(data), ensure_ascii=False, indent=2, allow_nan=False))
    else:
        console().print(text())


def _finite(value: Any) -> Any:
    """``value`` with infinities and NaN as null: JSON has no word for them."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return value


def console() -> Console:
    """A rich console on stdout that never wraps a line of a table when piped."""
    from rich.console import Console

    if sys.stdout.isatty():
        return Console(highlight=False, markup=False, emoji=False, soft_wrap=False)
    return Console(highlight=False, markup=False, emoji=False, width=400, soft_wrap=True)


def note(text: str) -> None:
    """A line on stderr for whoever watches."""
    sys.stderr.write(text + "\n")


def fail(text: str) -> None:
    """An error on stderr."""
    one = " ".join(text.split())
    sys.stderr.write(f"isogloss: {one}\n")


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, title: str = "") -> Any:
    """A plain table, the first column never wrapped."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    made = Table(title=title or None, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for index, name in enumerate(header):
        made.add_column(Text(name), no_wrap=index == 0, overflow="fold")
    wide = sum(max(len(cell) for cell in column) + 2 for column in zip(*rows, strict=True))
    narrow = sys.stdout.isatty() and wide > shutil.get_terminal_size().columns
    for row in rows:
        # Where the rows don't fit, an interval goes below its value.
        made.add_row(*(Text(cell.replace(" [", "\n[") if narrow else cell) for cell in row))
    return made


def command() -> str:
    """What a person types to run this program again: its name, or its path if that isn't found."""
    return "isogloss" if shutil.which("isogloss") else str(Path(sys.argv[0]).absolute())


def number(count: float) -> str:
    """A count as a person reads it: 1,066,112."""
    return f"{count:,.0f}"


def size(count: float) -> str:
    """Bytes as a person reads them: 4.3 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return ""


@contextlib.contextmanager
def bars() -> Iterator[Report]:
    """A :class:`isogloss.progress.Report` that draws bars on stderr, if that is a terminal."""
    if not sys.stderr.isatty():
        yield silent
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TaskID,
        TextColumn,
        TimeRemainingColumn,
    )

    progress = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[facts]}", markup=False),
        TextColumn("left"),
        TimeRemainingColumn(compact=True),
        console=Console(stderr=True),
        transient=True,
    )
    tasks: dict[str, TaskID] = {}
    began: dict[str, float] = {}

    def report(
        label: str,
        done: float,
        total: float | None = None,
        facts: Mapping[str, float | str] | None = None,
    ) -> None:
        began.setdefault(label, time.monotonic())
        finished = total is not None and done >= total
        if label not in tasks:
            if finished or time.monotonic() - began[label] < _PATIENCE:
                return
            tasks[label] = progress.add_task(label, total=total, facts="")
        shown = "  ".join(f"{key} {value}" for key, value in (facts or {}).items())
        progress.update(tasks[label], completed=done, total=total, facts=shown)
        if finished:
            progress.remove_task(tasks.pop(label))
            began.pop(label, None)

    with progress:
        yield report
