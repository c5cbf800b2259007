"""`landmark search`: patches by text, or by a patch."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from cli import options
from cli.console import Console, open_console
from landmark.errors import InputError

if TYPE_CHECKING:
    from baselines.search import SearchResult
    from landmark.pages import Table


class Sensor(StrEnum):
    """Which sensor's patches are searched."""

    S1 = "s1"
    S2 = "s2"


class Split(StrEnum):
    """Which split is searched."""

    TRAIN = "train"
    VAL = "val"
    CORPUS = "corpus"
    ALL = "all"


def search(
    context: typer.Context,
    dataset: options.Dataset,
    text: Annotated[
        str | None, typer.Argument(metavar="[TEXT]", help="What to look for, in words.")
    ] = None,
    like: Annotated[
        str | None,
        typer.Option("--like", metavar="PATCH_ID", help="Look for patches like this one instead."),
    ] = None,
    run: options.Run = None,
    sensor: Annotated[
        Sensor | None, typer.Option("--sensor", help="Only this sensor; default: both.")
    ] = None,
    split: Annotated[
        Split, typer.Option("--split", help="Which patches are searched.")
    ] = Split.CORPUS,
    start: Annotated[
        str | None, typer.Option("--from", metavar="DAY", help="Acquired on this day or later.")
    ] = None,
    end: Annotated[
        str | None, typer.Option("--to", metavar="DAY", help="Acquired on this day or earlier.")
    ] = None,
    area: Annotated[
        str | None,
        typer.Option(
            "--area", metavar="W,S,E,N|FILE", help="Centre in this box or these polygons."
        ),
    ] = None,
    event: Annotated[
        str | None,
        typer.Option("--event", metavar="ID|TYPE", help="Linked to this event, or type of event."),
    ] = None,
    top: Annotated[int, typer.Option("--top", min=1, help="How many hits.")] = 10,
    understand: Annotated[
        bool,
        typer.Option(
            "--understand/--no-understand",
            help="Translate the text to classes, or ask the run as it stands.",
        ),
    ] = True,
    beta: Annotated[
        float | None,
        typer.Option(
            "--beta",
            help="Runs with class probabilities: 0 wants all of it there, 1 also little else. "
            "Default 0.67.",
        ),
    ] = None,
    html: options.Html = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Rank patches by a text, or by their likeness to a patch, best first."""
    console = open_console(context, as_json=as_json, quiet=quiet, debug=debug)
    options.check_html(html)
    if (text is None) == (like is None):
        raise InputError("give either TEXT or --like PATCH_ID")
    if like is not None and (beta is not None or not understand):
        raise InputError("--like searches by an image: leave --beta and --no-understand out")

    from baselines.filters import Filters, parse_day
    from baselines.gallery import gallery_page
    from baselines.search import search as find
    from baselines.search import search_like
    from landmark.commits import write_atomic
    from landmark.pages import render

    filters = Filters(
        sensor=sensor.value if sensor else None,
        split=split.value,
        start=parse_day(start, "--from"),
        end=parse_day(end, "--to"),
        area=area,
        event=event,
    )
    with console.work() as progress:
        if like is not None:
            result = search_like(dataset, like, run, filters, top, progress)
        else:
            result = find(
                dataset, text or "", run, filters, top, progress, understand=understand, beta=beta
            )
        if html is not None:
            write_atomic(html, render(gallery_page(dataset, result)))
    show_understanding(console, result)
    console.table(hits_table(result))
    console.answer(result.to_list(), *([f"pictures: {html}"] if html else []))


def show_understanding(console: Console, result: SearchResult) -> None:
    """Say on stderr what the words of a query were taken for, so that --json stays rows."""
    from baselines.understanding import lines_of

    if result.request is not None:
        console.note(*lines_of(result.request, result.kind))


def hits_table(result: SearchResult, top: int | None = None) -> Table:
    """Return the first hits of a search as a table."""
    from landmark.pages import Table

    rows = tuple(
        (hit.rank, f"{hit.score:.3f}", hit.patch_id, ". ".join(hit.labels))
        for hit in result.rows[:top]
    )
    caption = f'"{result.text}": run {result.run}, {result.gallery} patches searched'
    return Table(("rank", "score", "patch", "labels"), rows, caption)
