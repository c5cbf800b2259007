"""Options that several commands share, described once."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from landmark.errors import InputError

Dataset = Annotated[Path, typer.Argument(metavar="DATASET", help="Dataset directory.")]
Run = Annotated[str | None, typer.Option("--run", help="Training run; default: clip, or the only.")]
Html = Annotated[
    Path | None, typer.Option("--html", metavar="FILE", help="Also write a page of pictures.")
]
Workers = Annotated[
    int | None, typer.Option("--workers", min=1, help="Parallel workers; default: one per CPU.")
]
Cluster = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        metavar="FILE|ADDRESS|local",
        help="Run on dask: a dask-jobqueue YAML file, a scheduler address, or local processes.",
    ),
]
Part = Annotated[
    str | None,
    typer.Option(
        "--part", metavar="I/N", help="Only every N-th shard, from the I-th (job arrays)."
    ),
]
Json = Annotated[
    bool, typer.Option("--json", help="Answer with one JSON document on standard output.")
]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress, no notes.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks, warnings and log lines.")]


def parse_part(text: str | None) -> tuple[int, int] | None:
    """Return (i, n) of `i/n`, 1 <= i <= n.

    Raises:
        InputError: The text says something else.
    """
    if text is None:
        return None
    match = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text, re.ASCII)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise InputError(f"--part {text}: give I/N with 1 <= I <= N, such as 3/100")
    return int(match[1]), int(match[2])


def check_html(path: Path | None) -> None:
    """Refuse a page that could not be written, before any work is done.

    Raises:
        InputError: Its folder does not exist, or it is a folder itself.
    """
    if path is not None and (path.is_dir() or not path.absolute().parent.is_dir()):
        raise InputError(f"--html {path}: not a file in an existing folder")
