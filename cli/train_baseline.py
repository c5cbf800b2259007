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
    recipe: Annotated[
        str,
        typer.Option(
            "--recipe",
            help="What is learned, and how: clip, concepts, containment, soft, siglip, dcl, "
            "multilabel, published, published-tuned.",
        ),
    ] = "clip",
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="NAME",
            help="Image encoder (timm name), s1=NAME,s2=NAME, or closp-rn, closp-vs, closp-vl, "
            "closp-mix.",
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            "--weights",
            metavar="SOURCE",
            help="Start from: a published CLOSP file, ssl4eo, or s1=FILE,s2=FILE,location=FILE "
            "(also hub:OWNER/REPOSITORY/FILE).",
        ),
    ] = None,
    run: Annotated[
        str | None, typer.Option("--run", help="Folder under runs/; default: the recipe's name.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with an interrupted run.")
    ] = False,
    like: Annotated[
        str | None,
        typer.Option("--like", metavar="RUN", help="Take the recipe of an earlier run."),
    ] = None,
    epochs: Annotated[int | None, typer.Option("--epochs", min=0, help="Passes.")] = None,
    batch: Annotated[
        int | None, typer.Option("--batch", min=2, help="Patches per sensor and step.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, help="Seed of weights, order, augmentation.")
    ] = None,
    lr: Annotated[float | None, typer.Option("--lr", help="Peak learning rate.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="FIELD=VALUE",
            help="Any other field of the recipe (docs/training.md); may be repeated.",
        ),
    ] = None,
    text: Annotated[
        str | None, typer.Option("--text", help="Text encoder: hub name or local folder.")
    ] = None,
    device: Annotated[
        str | None, typer.Option("--device", help="cpu, cuda, ...; default: CUDA if there.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Threads that decode patches.")
    ] = None,
    reading_processes: Annotated[
        int,
        typer.Option(
            "--reading-processes",
            min=0,
            metavar="N",
            help="Processes that read patches instead of these threads.",
        ),
    ] = 0,
    checkpoint_every: Annotated[
        float,
        typer.Option(
            "--checkpoint-every",
            min=1,
            metavar="SECONDS",
            help="Between checkpoints inside a long epoch (each epoch ends with one).",
        ),
    ] = 600.0,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write runs/NAME/tensorboard/ too.")
    ] = False,
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

    from baselines.recipes import parse_settings
    from baselines.training import TrainOptions, train
    from landmark.dataset import Dataset

    wanted = TrainOptions(
        recipe=recipe,
        model=model,
        weights=weights,
        run=run,
        resume=resume,
        like=like,
        epochs=epochs,
        batch=batch,
        seed=seed,
        lr=lr,
        settings=parse_settings(settings or []),
        text=text,
        device=device,
        workers=workers,
        reading_processes=reading_processes,
        checkpoint_seconds=checkpoint_every,
        tensorboard=tensorboard,
    )
    name = f"train-baseline --recipe {recipe}"
    with console.work(None if follower else Dataset(dataset), name) as progress:
        summary = train(dataset, wanted, progress)
    if follower:
        return
    score = "no val split" if summary.val_map is None else f"val mAP {summary.val_map:.3f}"
    state = "was complete already" if summary.complete_before else f"epochs {summary.epochs}"
    kept = f"kept epoch {summary.best_epoch}" if summary.best_epoch else "kept the initial weights"
    console.answer(
        summary.to_dict(),
        f"run {summary.run} ({summary.recipe}, {summary.model}): {state}, {kept}, {score}, "
        f"{duration(summary.seconds)}",
        f"weights, metrics and curves: {dataset / 'runs' / summary.run}",
    )
