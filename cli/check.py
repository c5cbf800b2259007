"""`landmark check`: does a split leak, and how do its parts differ?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli import options
from cli.console import open_console
from landmark.errors import InputError

if TYPE_CHECKING:
    from baselines.shortcuts import Shortcut
    from harmonize.audit import Audit
    from landmark.pages import Table


class Shared(StrEnum):
    """What splits may be allowed to share."""

    scene = "scene"
    datatake = "datatake"
    event = "event"
    pair = "pair"


def check(
    context: typer.Context,
    dataset: options.Dataset,
    splits: Annotated[
        Path | None,
        typer.Option(
            "--splits", metavar="CSV", help="Audit this split (columns patch_id, split) instead."
        ),
    ] = None,
    published: Annotated[
        bool,
        typer.Option("--published", help="Audit the published style: 20/80, patches at random."),
    ] = False,
    buffer_cells: Annotated[
        int | None,
        typer.Option("--buffer-cells", min=0, help="Cells free between splits; default: manifest."),
    ] = None,
    allow: Annotated[
        list[Shared] | None,
        typer.Option("--allow", help="What splits may share; may be given several times."),
    ] = None,
    label_drift: Annotated[
        float, typer.Option(min=0, max=1, help="Largest difference of a class's prevalence.")
    ] = 0.25,
    sensor_drift: Annotated[
        float, typer.Option(min=0, max=1, help="Largest difference of a sensor's share.")
    ] = 0.15,
    shortcuts: Annotated[
        bool,
        typer.Option(
            "--shortcuts", help="Also measure what trivial statistics of the pixels give away."
        ),
    ] = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Audit a split: distance, shared scenes, events and pairs, drift; exit 1 when it fails."""
    console = open_console(context, as_json=as_json, quiet=quiet, debug=debug)
    if splits is not None and published:
        raise InputError("--splits and --published name two splits: give one of them")

    from harmonize.audit import Limits
    from harmonize.checking import check as audit_dataset
    from landmark.dataset import Dataset
    from landmark.manifest_file import load_manifest

    rules = load_manifest(str(Dataset(dataset).require(Dataset(dataset).manifest, "fetch"))).splits
    limits = Limits(
        buffer_cells=rules.buffer_cells if buffer_cells is None else buffer_cells,
        shared=frozenset(kind.value for kind in allow or ()),
        label_drift=label_drift,
        sensor_drift=sensor_drift,
    )
    with console.work() as progress:
        audit = audit_dataset(dataset, limits, splits, published=published, progress=progress)
        found: tuple[Shortcut, ...] = ()
        if shortcuts:
            from baselines.shortcuts import source_shortcuts

            found = source_shortcuts(dataset, progress)
    document = audit.to_dict()
    if shortcuts:
        document["shortcuts"] = [asdict(line) for line in found]
    console.answer(document, *_lines(audit))
    if found:
        console.table(_table(found))
    if not audit.ok:
        raise typer.Exit(1)


def _table(shortcuts: Sequence[Shortcut]) -> Table:
    from landmark.pages import Table

    return Table(
        ("sensor", "target", "metric", "chance", "before", "after"),
        tuple(
            (
                s.sensor,
                s.target,
                s.metric,
                round(s.chance, 3),
                round(s.before, 3),
                round(s.after, 3),
            )
            for s in shortcuts
        ),
        caption="What trivial statistics predict, before and after harmonization",
    )


def _values(line: Shortcut) -> tuple[float, float, float]:
    return line.chance, line.before, line.after


def _lines(audit: Audit) -> list[str]:
    counts = ", ".join(f"{name} {count}" for name, count in audit.patches.items())
    lines = [f"splits: {counts}; in none: {audit.unassigned}"]
    for finding in audit.findings:
        lines.append(f"{'ok  ' if finding.ok else 'FAIL'} {finding.check}: {finding.text}")
        if not finding.ok:
            lines += [f"       {line}" for line in finding.worst]
    failed = [finding.check for finding in audit.findings if not finding.ok]
    lines.append(f"the split fails on {', '.join(failed)}" if failed else "the split holds")
    return lines
