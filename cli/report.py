"""`landmark report`: one page about a dataset."""

from __future__ import annotations

from pathlib import Path

import typer

from cli import options
from cli.console import Console, open_console


def report(
    context: typer.Context,
    dataset: options.Dataset,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Write report.html: map, classes, contact sheet, holes, run times, curves and scores."""
    console = open_console(context, as_json=as_json, quiet=quiet, debug=debug)
    path = write_report(console, dataset)
    console.answer({"report": str(path)}, f"report: {path}")


def write_report(console: Console, root: Path) -> Path:
    """Write the report of a dataset; return where.

    Raises:
        InputError: The directory holds no dataset.
    """
    from landmark import reporting as corpus_report
    from landmark.commits import write_atomic
    from landmark.dataset import Dataset
    from landmark.pages import Page, Section, render

    title, subtitle = corpus_report.heading(root)

    from baselines import reporting as model_report
    from harmonize import reporting as label_report

    parts = (corpus_report.sections, label_report.sections, model_report.sections)
    sections: list[Section] = []
    with console.work() as progress:
        progress.start("report", len(parts))
        for part in parts:
            sections.extend(part(root))
            progress.advance()
    path = Dataset(root).report
    write_atomic(path, render(Page(title, subtitle, tuple(sections))))
    return path
