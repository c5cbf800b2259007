"""`landmark fetch`: manifest to patches."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli import options
from cli.console import Console, duration, open_console, size

if TYPE_CHECKING:
    from landmark.fetching import FetchSummary
    from landmark.plan_summary import PlanSummary


def fetch(
    context: typer.Context,
    manifest: Annotated[
        str, typer.Argument(metavar="MANIFEST", help="Manifest file, or a built-in name: demo.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DATASET", help="Dataset directory.")],
    plan: Annotated[
        bool, typer.Option("--plan", help="Stop after the plan; show what a fetch would cost.")
    ] = False,
    locked: Annotated[
        bool,
        typer.Option("--locked", help="Rebuild from the plan alone; fail if upstream changed."),
    ] = False,
    replan: Annotated[
        bool, typer.Option("--replan", help="Plan again; shards whose rows are equal are kept.")
    ] = False,
    refresh: Annotated[
        bool,
        typer.Option("--refresh", help="When planning, ask the catalogs again, not the cache."),
    ] = False,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Plan at most this many patches.")
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Make shards that have holes again.")
    ] = False,
    max_failed: Annotated[
        str,
        typer.Option(
            "--max-failed", metavar="N|SHARE", help="Holes allowed: 12, 1% or 0.01; else exit 3."
        ),
    ] = "1%",
    part: options.Part = None,
    workers: options.Workers = None,
    cluster: options.Cluster = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Find the scenes a manifest asks for, plan patches and cut them. Resumes where it stopped."""
    console = open_console(context, as_json=as_json, quiet=quiet, debug=debug)
    chosen = options.parse_part(part)

    from landmark.archives.about import MissingArchivesError
    from landmark.dataset import Dataset
    from landmark.fetching import FetchOptions
    from landmark.fetching import fetch as run
    from landmark.manifest_file import load_manifest

    wanted = FetchOptions(
        plan_only=plan,
        locked=locked,
        replan=replan,
        refresh=refresh,
        limit=limit,
        retry_failed=retry_failed,
        max_failed=max_failed,
        part=chosen,
        workers=workers,
        cluster=cluster,
    )
    asked = load_manifest(manifest, check_files=True)
    name = " ".join(["fetch", *(["--plan"] if plan else []), *(["--part", part] if part else [])])
    try:
        with console.work(Dataset(out), name) as progress:
            summary = run(asked, out, wanted, progress)
    except MissingArchivesError as error:
        if plan:  # the plan's answer is then what to get first
            found = {"missing": [one.to_dict() for one in error.missing]}
            console.answer(found, *(one.line() for one in error.missing))
        raise
    if summary.plan is not None:
        show_plan(console, summary.plan, out)
        return
    show_fetch(console, summary, out)
    summary.raise_for_holes()


def show_plan(console: Console, plan: PlanSummary, out: Path) -> None:
    """Show what a fetch would read, keep and take."""
    facts = plan.to_dict()
    took = facts["plan_seconds"]
    planned = f", planned in {duration(took)}" if took else ""
    if not console.as_json:
        _show_statuses(console, plan)
        for line in plan.map:
            console.say(line)
    times = ", ".join(f"{duration(s)} with {n}" for n, s in facts["estimate"].items())
    console.answer(
        facts,
        f"{facts['patches']} patches from {facts['scenes']} scenes{planned} "
        f"({out / 'plan.parquet'})",
        f"to read {size(facts['bytes_read'])} in {facts['requests']} requests, to keep "
        f"{size(facts['bytes_kept'])}, and {size(facts['bytes_corpus'])} more after harmonize",
        f"estimated time, by workers: {times}",
    )


def _show_statuses(console: Console, plan: PlanSummary) -> None:
    """Show how many candidates each sensor has, and what becomes of them."""
    from landmark.pages import Table

    names = sorted({name for counts in plan.statuses.values() for name in counts})
    names.sort(key=lambda name: name != "keep")
    rows: list[tuple[str | int | float | None, ...]] = [
        (name, *(counts.get(name, 0) for counts in plan.statuses.values())) for name in names
    ]
    console.table(Table(("candidates", *plan.statuses), tuple(rows)))


def show_fetch(console: Console, summary: FetchSummary, out: Path) -> None:
    """Show what a fetch wrote."""
    facts = summary.to_dict()
    filtered = ", ".join(f"{count} {rule}" for rule, count in sorted(facts["filtered"].items()))
    console.answer(
        facts,
        f"{out}: {facts['patches']} patches written in {facts['shards']} shards "
        f"({facts['shards_skipped']} were there already), {duration(facts['seconds'])}",
        f"filtered: {filtered or 'none'}; holes: {facts['failures']}",
    )
