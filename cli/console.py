"""What a command shows: its answer on stdout, progress and messages on stderr."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TextIO

import typer

from landmark.progress import Progress, Silent

if TYPE_CHECKING:
    from rich.progress import Progress as Bars

    from landmark.dataset import Dataset
    from landmark.pages import Table

#: Seconds between two lines of progress where there is no terminal.
LINE_SECONDS = 10.0
#: Columns of a table where there is no terminal.
_PIPE_WIDTH = 200
#: Columns between two of a table.
_GAP = 3


@dataclass
class Session:
    """One run of the program; `main` makes it, options of the command fill it in.

    Attributes:
        debug: Show tracebacks, warnings and log messages.
        resume: How an interrupted run is taken up again.
    """

    debug: bool = False
    resume: str = "run the same command again; whole shards are kept"


@dataclass(frozen=True)
class Console:
    """Where a command's words go.

    Attributes:
        as_json: The answer is one JSON document, and nothing else goes to stdout.
        quiet: No progress and no notes.
        stdout: Takes the answer.
        stderr: Takes everything else.
    """

    as_json: bool = False
    quiet: bool = False
    stdout: TextIO = field(default_factory=lambda: sys.stdout)
    stderr: TextIO = field(default_factory=lambda: sys.stderr)

    @contextlib.contextmanager
    def work(self, dataset: Dataset | None = None, command: str = "") -> Iterator[Progress]:
        """Give the progress of a long step; what libraries print meanwhile goes to stderr.

        Args:
            dataset: Where to record the time taken when the step ends well.
            command: Under which name.
        """
        started, clock = dt.datetime.now(dt.UTC), time.monotonic()
        progress = self._progress()
        with contextlib.redirect_stdout(self.stderr):
            try:
                yield progress
            finally:
                progress.finish()
        if dataset is not None:
            from landmark import history

            history.record(dataset, command, started, time.monotonic() - clock)

    def answer(self, document: Any, *lines: str) -> None:
        """Show the answer: the document with --json, else the lines."""
        if self.as_json:
            json.dump(document, self.stdout, indent=1, ensure_ascii=False)
            self.stdout.write("\n")
        else:
            for line in lines:
                self.say(line)
        self.stdout.flush()

    def note(self, *lines: str) -> None:
        """Show lines beside the answer, on stderr; nothing with --quiet."""
        if not self.quiet:
            for line in lines:
                print(line, file=self.stderr)

    def say(self, line: str) -> None:
        """Show a line of the answer meant for people; nothing with --json."""
        if not self.as_json:
            print(line, file=self.stdout)

    def table(self, table: Table) -> None:
        """Show a table meant for people; nothing with --json."""
        if self.as_json:
            return
        from rich import box
        from rich.console import Console as Screen
        from rich.table import Table as Grid
        from rich.text import Text

        from landmark.pages import cell_text, numeric_columns

        # A pipe has no edge to break lines at.
        screen = Screen(file=self.stdout, width=None if self.stdout.isatty() else _PIPE_WIDTH)
        if table.caption:
            screen.print(Text(table.caption), soft_wrap=True)
        grid = Grid(header_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
        numbers = numeric_columns(table)
        last = len(table.columns) - 1
        widths = [
            max((len(cell_text(row[i])) for row in table.rows), default=0) for i in range(last + 1)
        ]
        whole = sum(w for i, w in enumerate(widths) if i in numbers or i != last)
        narrow = whole + _GAP * (last + 1) > screen.width
        for i, column in enumerate(table.columns):
            # Figures stay whole, names and ids too where there is room, to be copied; headings and
            # the last column may wrap.
            grid.add_column(
                Text(column),
                justify="right" if i in numbers else "left",
                min_width=widths[i] if i in numbers else None,
                no_wrap=not narrow and i not in numbers and i != last,
                overflow="fold",
            )
        for row in table.rows:
            grid.add_row(*(Text(cell_text(cell)) for cell in row))
        screen.print(grid)

    def _progress(self) -> Progress:
        if self.quiet:
            return Silent()
        if self.stderr.isatty():
            return BarProgress(self.stderr)
        return LineProgress(self.stderr)


def open_console(
    context: typer.Context,
    *,
    as_json: bool,
    quiet: bool,
    debug: bool,
    resume: str = "",
) -> Console:
    """Return the console of a command and tell the session what its options say."""
    session = context.ensure_object(Session)
    session.debug = session.debug or debug
    session.resume = resume or session.resume
    return Console(as_json=as_json, quiet=quiet)


class LineProgress:
    """Progress without a terminal: a line now and then, and one at the end of a long stage."""

    def __init__(self, stream: TextIO, every: float = LINE_SECONDS) -> None:
        self._stream = stream
        self._every = every
        self._label = ""
        self._total = self._done = self._holes = 0
        self._started = self._shown = 0.0

    def start(self, label: str, total: int) -> None:
        """Begin a stage."""
        self.finish()
        self._label, self._total, self._done, self._holes = label, total, 0, 0
        self._started = self._shown = time.monotonic()

    def advance(self, units: int = 1, holes: int = 0) -> None:
        """Count, and print a line if the last one is long ago."""
        self._done += units
        self._holes += holes
        if time.monotonic() - self._shown >= self._every:
            self._print()

    def note(self, message: str) -> None:
        """Print a line."""
        print(message, file=self._stream, flush=True)

    def finish(self) -> None:
        """End the stage; one that took a second or more says how it went."""
        if self._label and time.monotonic() - self._started >= min(1.0, self._every):
            self._print()
        self._label = ""

    def _print(self) -> None:
        self._shown = time.monotonic()
        elapsed = max(self._shown - self._started, 1e-9)
        text = f"{self._label}: {self._done} of {self._total}, {self._done / elapsed:.1f}/s"
        if 0 < self._done < self._total:
            text += f", {duration((self._total - self._done) * elapsed / self._done)} left"
        else:
            text += f", {duration(elapsed)}"
        if self._holes:
            text += f", {self._holes} holes"
        self.note(text)


class BarProgress:
    """Progress on a terminal: one bar per stage with rate, time left and holes."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._bars: Bars | None = None
        self._task: Any = None
        self._holes = 0

    def start(self, label: str, total: int) -> None:
        """Begin a stage with a new bar."""
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        if self._bars is None:
            self._bars = Bars(
                TextColumn("{task.description:<14}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
                TimeRemainingColumn(elapsed_when_finished=True),
                TextColumn("{task.fields[holes]}"),
                console=self._screen(),
                redirect_stdout=False,
            )
            self._bars.start()
        self._holes = 0
        self._task = self._bars.add_task(label, total=total, rate="", holes="")

    def advance(self, units: int = 1, holes: int = 0) -> None:
        """Move the bar."""
        if self._bars is None:
            return
        self._holes += holes
        self._bars.advance(self._task, units)
        task = next(task for task in self._bars.tasks if task.id == self._task)
        self._bars.update(
            self._task,
            rate=f"{task.completed / task.elapsed:.1f}/s" if task.elapsed else "",
            holes=f"{self._holes} holes" if self._holes else "",
        )

    def note(self, message: str) -> None:
        """Print a line above the bar."""
        screen = self._bars.console if self._bars is not None else self._screen()
        screen.print(message, markup=False, highlight=False, soft_wrap=True)

    def finish(self) -> None:
        """Leave the finished bars standing."""
        if self._bars is not None:
            self._bars.stop()
            self._bars = None

    def _screen(self) -> Any:
        from rich.console import Console as Screen

        return Screen(file=self._stream)


def duration(seconds: float) -> str:
    """Return seconds as people say them: `0.8 s`, `42 s`, `3 min 20 s`, `2 h 5 min`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def size(count: float) -> str:
    """Return a number of bytes as people say it: `812 kB`, `3.4 GB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
