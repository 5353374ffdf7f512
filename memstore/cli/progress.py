"""What a long command shows while it works, if standard error is a terminal; gone at the end."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from memstore.types import IngestReport


def _terminal() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()


@contextlib.contextmanager
def ingesting() -> Iterator[Callable[[IngestReport], None]]:
    """Show how much an ingest has stored, whose end is not known."""
    if not _terminal():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("reading", total=None)

        def show(report: IngestReport) -> None:
            rate = (report.added + report.unchanged) / max(report.seconds, 1e-9)
            bar.update(
                task,
                description=f"{report.added} added, {report.unchanged} unchanged, {rate:.0f}/s",
            )

        yield show


@contextlib.contextmanager
def counting(what: str) -> Iterator[Callable[[int], None]]:
    """Show how many of something are done, when it is not known how many there are.

    What is yielded is called with the number done since the last call.
    """
    if not _terminal():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.completed} {task.description}"))
    with Progress(
        *columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True
    ) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done: bar.advance(task, done)


@contextlib.contextmanager
def steps(beginning: str) -> Iterator[Callable[[str, int, int], None]]:
    """Show how far each step of something is.

    Args:
        beginning: what is being done until the first call of what is yielded.
    """
    if not _terminal():
        yield lambda what, done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    with Progress(
        *columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True
    ) as bar:
        task = bar.add_task(beginning, total=None)

        def show(what: str, done: int, total: int) -> None:
            bar.update(task, description=what, completed=done, total=total)

        yield show
