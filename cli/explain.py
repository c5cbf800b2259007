"""`landmark explain`: where the words about one patch come from."""

from __future__ import annotations

from typing import Annotated

import typer

from cli import options
from cli.console import open_console


def explain(
    context: typer.Context,
    dataset: options.Dataset,
    patch_id: Annotated[str, typer.Argument(metavar="PATCH_ID", help="As in plan.parquet.")],
    html: options.Html = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Derive every word of a patch's caption from its sources and crosswalks."""
    console = open_console(context, as_json=as_json, quiet=quiet, debug=debug)
    options.check_html(html)

    from harmonize.explaining import explain as derive
    from landmark.commits import write_atomic
    from landmark.pages import render

    with console.work():
        explanation = derive(dataset, patch_id)
        if html is not None:
            write_atomic(html, render(explanation.page()))
    console.answer(
        explanation.to_dict(),
        *explanation.lines(),
        *([f"page: {html}"] if html else []),
    )
