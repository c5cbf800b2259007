"""`landmark search`: patches of the gallery by text."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from cli import options
from cli.console import open_console

if TYPE_CHECKING:
    from baselines.search import SearchResult
    from landmark.pages import Table


class Sensor(StrEnum):
    """Which gallery is searched."""

    S1 = "s1"
    S2 = "s2"


def search(
    context: typer.Context,
    dataset: options.Dataset,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What to look for, in words.")],
    run: options.Run = None,
    sensor: Annotated[
        Sensor | None, typer.Option("--sensor", help="Only this sensor; default: both.")
    ] = None,
    top: Annotated[int, typer.Option("--top", min=1, help="How many hits.")] = 10,
    html: options.Html = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Rank the gallery's patches by a text, best first."""
    console = open_console(context, as_json=as_json, quiet=quiet, debug=debug)
    options.check_html(html)

    from baselines.gallery import gallery_page
    from baselines.search import search as find
    from landmark.commits import write_atomic
    from landmark.pages import render

    with console.work() as progress:
        result = find(dataset, text, run, sensor.value if sensor else None, top, progress)
        if html is not None:
            write_atomic(html, render(gallery_page(dataset, result)))
    console.table(hits_table(result))
    console.answer(result.to_list(), *([f"pictures: {html}"] if html else []))


def hits_table(result: SearchResult, top: int | None = None) -> Table:
    """Return the first hits of a search as a table."""
    from landmark.pages import Table

    rows = tuple(
        (hit.rank, f"{hit.score:.3f}", hit.patch_id, ". ".join(hit.labels))
        for hit in result.rows[:top]
    )
    caption = f'"{result.text}": run {result.run}, {result.gallery} patches searched'
    return Table(("rank", "score", "patch", "labels"), rows, caption)
