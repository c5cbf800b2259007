"""`landmark evaluate`: a run's retrieval scores beside the references, or its use on chips."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli import options
from cli.console import Console, open_console
from landmark.errors import InputError


def evaluate(
    context: typer.Context,
    dataset: options.Dataset,
    run: options.Run = None,
    chips: Annotated[
        Path | None,
        typer.Option(
            "--chips",
            metavar="DIR",
            help="Classify chips instead (one folder of .tif a class): zero-shot, linear probe.",
        ),
    ] = None,
    chip_bands: Annotated[
        str | None,
        typer.Option(
            "--chip-bands",
            metavar="B02,B03,...",
            help="Bands of the chips in order; default: EuroSAT's 13.",
        ),
    ] = None,
    chip_texts: Annotated[
        Path | None,
        typer.Option(
            "--chip-texts", metavar="FILE", help="CSV (class,text): what to ask for each class by."
        ),
    ] = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Score a run and the reference rankings on the dataset's queries, or classify chips."""
    console = open_console(context, as_json=as_json, quiet=quiet, debug=debug)
    if chips is not None:
        bands = None if chip_bands is None else tuple(b.strip() for b in chip_bands.split(","))
        _classify(console, dataset, run, chips, bands, chip_texts)
        return
    if chip_bands is not None or chip_texts is not None:
        raise InputError("--chip-bands and --chip-texts go with --chips DIR")

    from baselines.evaluation import evaluate as score
    from baselines.headline import headline, headline_table, kinds_table
    from landmark.dataset import Dataset

    with console.work(Dataset(dataset), "evaluate") as progress:
        result = score(dataset, run, progress)
    console.note(*result.notes)
    console.table(headline_table(headline(result.rows)))
    console.table(kinds_table(result.rows))
    console.answer(result.to_list(), f"all rows: {result.path}")


def _classify(
    console: Console,
    root: Path,
    run: str | None,
    chips: Path,
    bands: tuple[str, ...] | None,
    texts: Path | None,
) -> None:
    from baselines.chips import chips_table, class_table, classify_chips
    from landmark.dataset import Dataset

    with console.work(Dataset(root), "evaluate --chips") as progress:
        result = classify_chips(root, chips, run, bands, texts, progress)
    console.note(*result.notes)
    console.table(chips_table(result.rows))
    console.table(class_table(result.rows))
    console.answer([row.to_dict() for row in result.rows], f"all rows: {result.path}")
