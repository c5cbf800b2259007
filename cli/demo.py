"""`landmark demo`: every step once, on the embedded synthetic Earth."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli import options
from cli.console import Console, duration, open_console
from cli.report import write_report
from cli.search import hits_table

if TYPE_CHECKING:
    from baselines.headline import Headline
    from baselines.search import SearchResult

QUERIES = ("flooded area next to crops", "water and trees")
RECIPES = ("clip", "multilabel")
SHOWN_HITS = 5


def demo(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Dataset directory to make.")],
    quick: Annotated[
        bool, typer.Option("--quick", help="A smaller Earth and one epoch: shows the way only.")
    ] = False,
    workers: options.Workers = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Fetch, harmonize, train, evaluate, search and report; then say where to look."""
    console = open_console(context, as_json=as_json, quiet=quiet, debug=debug)
    started = time.monotonic()
    _fetch(console, folder, quick, workers)
    _harmonize(console, folder, workers)
    _train(console, folder, epochs=1 if quick else None)
    scores = _evaluate(console, folder)
    hits = [_search(console, folder, i, text) for i, text in enumerate(QUERIES, 1)]
    report = write_report(console, folder)
    _show(console, folder, scores, hits, report, time.monotonic() - started)


def _fetch(console: Console, root: Path, quick: bool, workers: int | None) -> None:
    from landmark.dataset import Dataset
    from landmark.fetching import FetchOptions, fetch
    from landmark.manifest_file import load_manifest

    console.say("1/6 fetch: scenes, plan, patches")
    manifest = load_manifest("demo-small" if quick else "demo")
    with console.work(Dataset(root), "fetch") as progress:
        fetch(manifest, root, FetchOptions(workers=workers), progress).raise_for_holes()


def _harmonize(console: Console, root: Path, workers: int | None) -> None:
    from harmonize import pipeline
    from landmark.dataset import Dataset

    console.say("2/6 harmonize: labels, splits, captions, queries, shards")
    with console.work(Dataset(root), "harmonize") as progress:
        pipeline.harmonize(root, workers=workers, progress=progress)


def _train(console: Console, root: Path, epochs: int | None) -> None:
    console.say(f"3/6 train: {', '.join(RECIPES)}")

    from baselines.training import TrainOptions, train
    from landmark.dataset import Dataset

    for recipe in RECIPES:
        # A demo that was interrupted goes on; a complete run is left as it is.
        wanted = TrainOptions(recipe=recipe, resume=True, epochs=epochs)
        with console.work(Dataset(root), f"train-baseline --recipe {recipe}") as progress:
            train(root, wanted, progress)


def _evaluate(console: Console, root: Path) -> tuple[Headline, ...]:
    console.say("4/6 evaluate: scores beside the references")

    from baselines.evaluation import evaluate
    from baselines.headline import headline
    from landmark.dataset import Dataset

    with console.work(Dataset(root), "evaluate") as progress:
        return headline(evaluate(root, RECIPES[0], progress).rows)


def _search(console: Console, root: Path, number: int, text: str) -> tuple[str, SearchResult, Path]:
    console.say(f"5/6 search: {text}")

    from baselines.gallery import gallery_page
    from baselines.search import search
    from landmark.commits import write_atomic
    from landmark.pages import render

    path = root / "runs" / RECIPES[0] / f"search-{number}.html"
    with console.work() as progress:
        result = search(root, text, RECIPES[0], top=2 * SHOWN_HITS, progress=progress)
        write_atomic(path, render(gallery_page(root, result)))
    return text, result, path


def _show(
    console: Console,
    root: Path,
    scores: tuple[Headline, ...],
    hits: list[tuple[str, SearchResult, Path]],
    report: Path,
    seconds: float,
) -> None:
    from baselines.headline import headline_table

    console.say("")
    console.table(headline_table(scores))
    for _, result, _ in hits:
        console.table(hits_table(result, SHOWN_HITS))
    document: dict[str, Any] = {
        "dataset": str(root),
        "report": str(report),
        "scores": [asdict(score) for score in scores],
        "searches": [
            {"text": text, "html": str(path), "hits": result.to_list()}
            for text, result, path in hits
        ],
        "seconds": round(seconds, 1),
    }
    console.answer(
        document,
        "",
        f"6/6 done in {duration(seconds)}. Where to look:",
        f"  report    {report}",
        f"  card      {root / 'shards' / 'README.md'}",
        *(f"  pictures  {path}" for _, _, path in hits),
        f'  search    landmark search {root} "burned area" --html burned.html',
    )
