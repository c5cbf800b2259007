from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli import console as console_module
from cli import options
from cli.console import BarProgress, Console, LineProgress, duration, size
from landmark import history
from landmark.dataset import Dataset
from landmark.errors import InputError
from landmark.pages import Table
from landmark.progress import Silent


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(console_module, "time", found)
    return found


def test_lines_come_now_and_then(clock: Clock) -> None:
    stream = io.StringIO()
    progress = LineProgress(stream)
    progress.start("fetch", 400)
    for _ in range(100):
        clock.now += 0.25
        progress.advance(2, holes=1)
    assert stream.getvalue().splitlines() == [
        "fetch: 80 of 400, 8.0/s, 40 s left, 40 holes",
        "fetch: 160 of 400, 8.0/s, 30 s left, 80 holes",
    ]
    progress.advance(200)
    progress.finish()
    progress.finish()
    assert stream.getvalue().splitlines()[2:] == ["fetch: 400 of 400, 16.0/s, 25 s, 100 holes"]


def test_short_stages_are_silent(clock: Clock) -> None:
    stream = io.StringIO()
    progress = LineProgress(stream)
    for label in ("a", "b"):
        progress.start(label, 1)
        clock.now += 0.5
        progress.advance()
    progress.finish()
    assert stream.getvalue() == ""


def test_bar_shows_label_count_rate_and_holes() -> None:
    stream = Terminal()
    progress = BarProgress(stream)
    progress.advance()  # before any stage: nothing to move
    progress.start("fetch", 40)
    progress.note("[not markup] dashboard: http://127.0.0.1/")
    progress.advance(30, holes=2)
    progress.start("write", 5)
    progress.advance(5)
    progress.finish()
    progress.finish()
    shown = stream.getvalue()
    for part in ("fetch", "30/40", "/s", "2 holes", "write", "5/5", "[not markup] dashboard"):
        assert part in shown


def test_what_kind_of_progress() -> None:
    assert isinstance(Console(stderr=Terminal())._progress(), BarProgress)
    assert isinstance(Console(stderr=io.StringIO())._progress(), LineProgress)
    assert isinstance(Console(quiet=True, stderr=Terminal())._progress(), Silent)


def test_work_records_what_ended_well(tmp_path: Path) -> None:
    dataset = Dataset(tmp_path)
    console = Console(stdout=io.StringIO(), stderr=io.StringIO())
    with console.work(dataset, "fetch"):
        pass
    with pytest.raises(InputError), console.work(dataset, "harmonize"):
        raise InputError("x")
    assert [entry.command for entry in history.read(dataset)] == ["fetch"]


def test_answer_for_people_or_programs() -> None:
    for as_json in (True, False):
        out = io.StringIO()
        console = Console(as_json=as_json, stdout=out, stderr=io.StringIO())
        console.say("hello")
        console.table(Table(("run", "map"), (("[b]a[/b]", 0.25), ("b", None)), "Scores"))
        console.answer({"é": 1}, "one", "two")
        if as_json:
            assert json.loads(out.getvalue()) == {"é": 1}
        else:
            assert out.getvalue().startswith("hello\n")
            assert out.getvalue().endswith("one\ntwo\n")
            for part in ("Scores", "run", "[b]a[/b]", "0.25", "–"):
                assert part in out.getvalue()


def test_units() -> None:
    assert [duration(s) for s in (0.42, 9.96, 59.6, 200, 7500)] == [
        "0.4 s",
        "10 s",
        "1 min 0 s",
        "3 min 20 s",
        "2 h 5 min",
    ]
    assert [size(n) for n in (0, 999, 1500, 3.44e9, 5e12)] == [
        "0 B",
        "999 B",
        "1.5 kB",
        "3.44 GB",
        "5 TB",
    ]


@given(st.integers(1, 500), st.integers(1, 500))
def test_parts_in_range_are_read(i: int, n: int) -> None:
    if i <= n:
        assert options.parse_part(f"{i}/{n}") == (i, n)
    else:
        with pytest.raises(InputError):
            options.parse_part(f"{i}/{n}")


@given(st.text(max_size=8))
def test_other_parts_are_refused_in_one_line(text: str) -> None:
    try:
        part = options.parse_part(text)
    except InputError:
        return
    assert part is not None
    assert 1 <= part[0] <= part[1]


@pytest.mark.parametrize(("out", "columns"), [(io.StringIO(), None), (Terminal(), "80")])
def test_figures_of_a_table_stay_whole(
    out: io.StringIO, columns: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seven columns are too many for 80: then names break, not numbers."""
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns is not None:
        monkeypatch.setenv("COLUMNS", columns)
    figures = (0.546, 0.489, 0.601, 0.878, 0.815)
    row = ("single, unseen events", "baseline:source_shortcut", *figures)
    heads = ("queries", "run", "mAP", "low", "high", "nDCG", "graded nDCG")
    Console(stdout=out, stderr=io.StringIO()).table(Table(heads, (row, row)))
    shown = out.getvalue()
    assert all(shown.count(str(figure)) == 2 for figure in figures)
    assert ("baseline:source_shortcut" in shown) == (columns is None)
