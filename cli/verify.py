"""`landmark verify`: every committed byte against its checksum."""

from __future__ import annotations

import typer

from cli import options
from cli.console import open_console


def verify(
    context: typer.Context,
    dataset: options.Dataset,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Check every file of patches/, labels/ and shards/ byte by byte; exit 1 on damage."""
    console = open_console(context, as_json=as_json, quiet=quiet, debug=debug)

    from landmark.verifying import verify as check

    with console.work() as progress:
        summary = check(dataset, progress)
    lines = [f"damaged: {bad.file} {bad.cause}" for bad in summary.bad]
    lines.append(f"{dataset}: {summary.shards} files checked, {len(summary.bad)} damaged")
    console.answer(summary.to_dict(), *lines)
    if not summary.ok:
        raise typer.Exit(1)
