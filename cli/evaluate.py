"""`landmark evaluate`: a run's retrieval scores beside the references."""

from __future__ import annotations

import typer

from cli import options
from cli.console import open_console


def evaluate(
    context: typer.Context,
    dataset: options.Dataset,
    run: options.Run = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Score a run and the reference rankings on the dataset's queries."""
    console = open_console(context, as_json=as_json, quiet=quiet, debug=debug)

    from baselines.evaluation import evaluate as score
    from baselines.headline import headline, headline_table, kinds_table
    from landmark.dataset import Dataset

    with console.work(Dataset(dataset), "evaluate") as progress:
        result = score(dataset, run, progress)
    console.note(*result.notes)
    console.table(headline_table(headline(result.rows)))
    console.table(kinds_table(result.rows))
    console.answer(result.to_list(), f"all rows: {result.path}")
