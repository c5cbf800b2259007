"""`landmark export`: a dataset's patches in the forms other tools read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli import options
from cli.console import duration, open_console


def export(
    context: typer.Context,
    dataset: options.Dataset,
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Where; a new folder.")],
    form: Annotated[
        str,
        typer.Option(
            "--format", metavar="NAME", help="crisislandmark-hdf5, webdataset or geotiff."
        ),
    ],
    patch_ids: Annotated[
        list[str] | None, typer.Argument(metavar="[PATCH_ID]...", help="Only these patches.")
    ] = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Write patches with labels, splits and queries as HDF5, WebDataset or GeoTIFF."""
    console = open_console(context, as_json=as_json, quiet=quiet, debug=debug)

    from landmark.exporting import export as run

    with console.work() as progress:
        summary = run(dataset, form, out, patch_ids or [], progress)
    console.answer(
        summary.to_dict(),
        f"{out}: {summary.patches} patches in {summary.files} files, {duration(summary.seconds)}",
    )
