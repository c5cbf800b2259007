"""`landmark harmonize`: patches to labels, splits, captions, queries and shards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cli import options
from cli.console import duration, open_console

if TYPE_CHECKING:
    from harmonize.pipeline import HarmonizeSummary


def harmonize(
    context: typer.Context,
    dataset: options.Dataset,
    labels_only: Annotated[
        bool, typer.Option("--labels-only", help="Stop before shards/ copies the images.")
    ] = False,
    part: options.Part = None,
    workers: options.Workers = None,
    cluster: options.Cluster = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Label the patches, split them, write captions, queries and the portable shards."""
    console = open_console(context, as_json=as_json, quiet=quiet, debug=debug)
    chosen = options.parse_part(part)

    from harmonize import pipeline
    from landmark.dataset import Dataset

    name = f"harmonize --part {part}" if part else "harmonize"
    with console.work(Dataset(dataset), name) as progress:
        summary = pipeline.harmonize(
            dataset,
            labels_only=labels_only,
            part=chosen,
            workers=workers,
            cluster=cluster,
            progress=progress,
        )
    console.note(*summary.warnings)
    console.answer(summary.to_dict(), *(f"{dataset}: {line}" for line in _lines(summary)))


def _lines(summary: HarmonizeSummary) -> list[str]:
    lines = [
        f"{summary.labelled} of {summary.patches} patches with labels, {duration(summary.seconds)}"
    ]
    for sensor, splits in summary.splits.items():
        counts = ", ".join(f"{split} {count}" for split, count in splits.items())
        lines.append(f"{sensor}: {counts}")
    if summary.dropped:
        counts = ", ".join(f"{reason} {count}" for reason, count in summary.dropped.items())
        lines.append(f"in no split: {counts}")
    if summary.splits:
        lines.append(
            f"{summary.queries} queries, {summary.shards} shards written "
            f"({summary.shards_skipped} were there already)"
        )
    return lines
