"""`landmark train-baseline`: shards to a model."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from cli import options
from cli.console import duration, open_console


def train_baseline(
    context: typer.Context,
    dataset: options.Dataset,
    recipe: Annotated[str, typer.Option("--recipe", help="What is learned, and how.")] = "clip",
    model: Annotated[
        str | None, typer.Option("--model", help="Image encoder (timm name), one per sensor.")
    ] = None,
    run: Annotated[
        str | None, typer.Option("--run", help="Folder under runs/; default: the recipe's name.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with an interrupted run.")
    ] = False,
    epochs: Annotated[int | None, typer.Option("--epochs", min=1, help="Passes.")] = None,
    batch: Annotated[
        int | None, typer.Option("--batch", min=2, help="Patches per sensor and step.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, help="Seed of weights, order, augmentation.")
    ] = None,
    lr: Annotated[float | None, typer.Option("--lr", help="Peak learning rate.")] = None,
    text: Annotated[
        str | None, typer.Option("--text", help="Text encoder: hub name or local folder.")
    ] = None,
    device: Annotated[
        str | None, typer.Option("--device", help="cpu, cuda, ...; default: CUDA if there.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Threads that decode patches.")
    ] = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Train a text-to-image retrieval baseline; under torchrun, on several devices."""
    follower = os.environ.get("RANK", "0") != "0"  # torchrun: the first process speaks for all
    console = open_console(
        context,
        as_json=as_json,
        quiet=quiet or follower,
        debug=debug,
        resume="run the same command again with --resume",
    )

    from baselines.training import TrainOptions, train
    from landmark.dataset import Dataset

    wanted = TrainOptions(
        recipe=recipe,
        model=model,
        run=run,
        resume=resume,
        epochs=epochs,
        batch=batch,
        seed=seed,
        lr=lr,
        text=text,
        device=device,
        workers=workers,
    )
    name = f"train-baseline --recipe {recipe}"
    with console.work(None if follower else Dataset(dataset), name) as progress:
        summary = train(dataset, wanted, progress)
    if follower:
        return
    score = "no val split" if summary.val_map is None else f"val mAP {summary.val_map:.3f}"
    state = "was complete already" if summary.complete_before else f"epochs {summary.epochs}"
    console.answer(
        summary.to_dict(),
        f"run {summary.run} ({summary.recipe}, {summary.model}): {state}, kept epoch "
        f"{summary.best_epoch}, {score}, {duration(summary.seconds)}",
        f"weights, metrics and curves: {dataset / 'runs' / summary.run}",
    )
