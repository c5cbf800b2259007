"""`landmark migrate`: the same images, stored another way."""

from __future__ import annotations

from typing import Annotated

import typer

from cli import options
from cli.console import duration, open_console


def migrate(
    context: typer.Context,
    dataset: options.Dataset,
    profile: Annotated[
        str,
        typer.Option(
            "--profile", help="training (fast), storage (small) or compact (smaller, S1 lossy)."
        ),
    ],
    workers: options.Workers = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Rewrite all image shards to a storage profile; run it again to resume."""
    console = open_console(context, as_json=as_json, quiet=quiet, debug=debug)

    from landmark.dataset import Dataset
    from landmark.migrating import migrate as run

    with console.work(Dataset(dataset), "migrate") as progress:
        summary = run(dataset, profile, progress, workers=workers)
    before, after = summary.bytes_before / 1e6, summary.bytes_after / 1e6
    console.answer(
        summary.to_dict(),
        f"{dataset}: {summary.shards} shards rewritten to {summary.profile} "
        f"({summary.shards_skipped} were so already), {before:.1f} -> {after:.1f} MB, "
        f"{duration(summary.seconds)}",
    )
