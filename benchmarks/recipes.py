"""Which recipe finds more: `concepts`, a classifier, CLIP and the tuned published loss, paired.

    python -m benchmarks.recipes --dataset DIR              # all; stop and go on as you like
    python -m benchmarks.recipes --dataset DIR --minutes 8  # a sitting of eight minutes

DIR is a dataset built from `manifests/demo.yaml` (`landmark fetch`, `landmark harmonize`); the real
part needs `LANDMARK_TEST_DATA`. Every training is a cell of its own under `--work` and is not
repeated. Everything is chosen on val; split corpus is scored once, when all cells are complete.
A sitting that ends before that exits with code 3.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

from baselines.recipes import DEFAULT_TEXT
from baselines.text import TextEncoder, open_text_encoder
from baselines.threads import computing
from benchmarks.recipes_cells import Cells, OutOfTimeError, Result
from benchmarks.recipes_corpus import Corpus, open_dataset_corpus, prepare_dataset
from benchmarks.recipes_measuring import RESAMPLES
from benchmarks.recipes_real import open_real_corpus, prepare_real
from benchmarks.recipes_report import write_report
from benchmarks.recipes_scores import Findings, Tried, score_rows
from benchmarks.recipes_training import CachedEncoder, Cell

PICTURE = Path(__file__).parents[1] / "docs" / "img" / "recipes.png"
#: Pixels per side of the sandbox patches: their centres.
SIDE = 64
#: Options tried per recipe on the frozen trunk: as many for each.
_FEATURE_OPTIONS = MappingProxyType(
    {
        "concepts": ("plain", "balanced", "hidden"),
        "multilabel": ("plain", "balanced", "hidden"),
        "published": ("plain", "mean", "mean-balanced"),
        "clip": ("plain", "cls", "mean-balanced"),
    }
)
#: End to end: what the frozen trunk chose, but no hidden layer (it needs longer runs).
_NET_OPTIONS = ("plain", "mean", "mean-balanced", "cls", "balanced")
#: The head for free text hands no gradient to the trunk, so that end to end, from equal initial
#: weights, `concepts` learns the classes bit for bit as `multilabel` does (tested): one training
#: serves both rows, which differ in how they answer.
ONE_TRAINING = MappingProxyType({"multilabel": "concepts"})
#: Changes to `concepts` that are tried beside its options.
VARIANTS = ("share-weights", "share-targets", "agree-0.05", "agree-0.5")


@dataclass(frozen=True)
class Part:
    """One comparison: a corpus and a trunk.

    Attributes:
        corpus: `sandbox` or `real`.
        trunk: `features` or `net`.
        rates: Peak learning rates tried, on the first seed.
        seeds: All seeds.
        epochs: Passes over the larger sensor's training patches.
        batch: Patches per sensor and step.
        variants: Changes to `concepts` tried on all seeds.
    """

    corpus: str
    trunk: str
    rates: tuple[float, ...]
    seeds: tuple[int, ...]
    epochs: int
    batch: int = 64
    variants: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Corpus and trunk."""
        return f"{self.corpus}-{self.trunk}"

    def cell(self, recipe: str, option: str, lr: float, seed: int) -> Cell:
        """Return a cell of this part."""
        return Cell(
            self.corpus, self.trunk, recipe, option, lr, seed, epochs=self.epochs, batch=self.batch
        )


@dataclass(frozen=True)
class Plan:
    """All parts, in order; a part end to end takes its options from the part before it.

    Attributes:
        parts: What is compared.
        resamples: Galleries behind an interval.
        options: Recipe -> options tried on the frozen trunk.
        partial: Report what is there: the seeds `concepts` was trained on, without rows that lack
            one of them; a grid holds the configurations that were trained.
    """

    parts: tuple[Part, ...]
    resamples: int = RESAMPLES
    options: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: _FEATURE_OPTIONS)
    partial: bool = False


FULL = Plan(
    (
        Part("sandbox", "features", (3e-4, 1e-3, 3e-3), (0, 1, 2), 10, variants=VARIANTS),
        Part("sandbox", "net", (1e-3, 3e-3, 1e-2), (0, 1, 2), 6),
        Part("real", "features", (1e-4, 3e-4, 1e-3, 3e-3), (0, 1, 2, 3), 20, variants=VARIANTS),
        Part("real", "net", (3e-4, 1e-3, 3e-3), (0, 1, 2, 3), 12),
    )
)
QUICK = Plan(
    (
        Part("sandbox", "features", (1e-3,), (0, 1), 1, variants=VARIANTS[:1]),
        Part("real", "features", (1e-3,), (0, 1), 1),
    ),
    resamples=20,
    options=dict.fromkeys(_FEATURE_OPTIONS, ("plain",)),
)


def run(plan: Plan, cells: Cells) -> list[Findings]:
    """Train what is missing, choose on val, then score split corpus.

    Raises:
        OutOfTimeError: The sitting ended first.
    """
    chosen = train_parts(plan, cells)
    return [
        score_rows(part.name, chosen[part.name], cells, plan.resamples)
        for part in plan.parts
        if "concepts" in chosen[part.name]
    ]


def train_parts(
    plan: Plan, cells: Cells, names: Collection[str] | None = None
) -> dict[str, dict[str, Tried]]:
    """Train what is missing and choose on val; return part -> row -> what was trained.

    Args:
        plan: All parts.
        cells: Where they lie.
        names: Parts that are wanted; None: all. A part end to end needs that of its frozen trunk.

    Raises:
        OutOfTimeError: The sitting ended first.
    """
    chosen: dict[str, dict[str, Tried]] = {}
    for part in plan.parts:
        if names is None or part.name in names:
            before = chosen.get(f"{part.corpus}-features", {})
            chosen[part.name] = _compare(_with_seeds(part, plan, cells), plan, cells, before)
    # What no other part waits for comes last.
    for part in plan.parts:
        if "concepts" in chosen.get(part.name, {}):
            chosen[part.name] |= _variants(part, plan, cells, chosen[part.name]["concepts"].grid)
    return chosen


def _with_seeds(part: Part, plan: Plan, cells: Cells) -> Part:
    """Return a part with the seeds `concepts` was trained on, for a partial report."""
    if not plan.partial:
        return part

    def there(seed: int) -> bool:
        options = plan.options["concepts"]
        return any(
            cells.has(part.cell("concepts", o, lr, seed)) for o in options for lr in part.rates
        )

    return replace(part, seeds=tuple(seed for seed in part.seeds if there(seed)))


def _compare(part: Part, plan: Plan, cells: Cells, before: Mapping[str, Tried]) -> dict[str, Tried]:
    """Return row -> the grid that was tried for it, and its best configuration on all seeds."""
    rows = {}
    for recipe, options in plan.options.items():
        trained = recipe
        if part.trunk == "net":
            # What is there decides in a partial report.
            options = _NET_OPTIONS if plan.partial else _net_options(before.get(recipe))
            # End to end both are one training (see `ONE_TRAINING`).
            trained = ONE_TRAINING.get(recipe, recipe)
        wanted = [
            part.cell(trained, o, lr, seed)
            for seed in part.seeds[:1]
            for o in options
            for lr in part.rates
        ]
        grid = _results(wanted, plan, cells)
        for best in sorted(grid, key=lambda one: one.best(recipe), reverse=True):
            chosen = _results([replace(best.cell, seed=s) for s in part.seeds], plan, cells)
            if len(chosen) == len(part.seeds):
                rows[recipe] = Tried(grid, chosen)
                break
    return rows


def _results(wanted: Sequence[Cell], plan: Plan, cells: Cells) -> tuple[Result, ...]:
    """Return the results of cells: all of them, or of a partial report those that are there."""
    if not plan.partial:
        return tuple(cells.ensure(cell) for cell in wanted)
    return tuple(found for cell in wanted if (found := cells.find(cell)) is not None)


def _net_options(before: Tried | None) -> tuple[str, ...]:
    best = before.chosen[0].cell.option if before else "plain"
    return (best if best in _NET_OPTIONS else "plain",)


def _variants(part: Part, plan: Plan, cells: Cells, grid: tuple[Result, ...]) -> dict[str, Tried]:
    """Return what was tried beside the options, at the rate that is best without any."""
    plain = [one for one in grid if one.cell.option == "plain"]
    if not plain:
        return {}
    rate = max(plain, key=lambda one: one.best("concepts")).cell.lr
    found = {}
    for variant in ("plain", *part.variants):
        wanted = [part.cell("concepts", variant, rate, seed) for seed in part.seeds]
        chosen = _results(wanted, plan, cells)
        if len(chosen) == len(wanted):
            found[f"concepts, {variant}"] = Tried((), chosen)
    return found


def _corpora(dataset: Path, work: Path) -> dict[str, Callable[[], Corpus]]:
    def sandbox() -> Corpus:
        prepare_dataset(dataset, work / "sandbox", SIDE)
        return open_dataset_corpus(dataset, work / "sandbox")

    def real() -> Corpus:
        prepare_real(work / "real")
        return open_real_corpus(work / "real")

    return {"sandbox": sandbox, "real": real}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--dataset", type=Path, default=Path("data/demo"), help="sandbox dataset")
    parser.add_argument("--work", type=Path, default=Path("data/recipes"), help="arrays and cells")
    parser.add_argument("--minutes", type=float, default=None, help="begin no cell after so long")
    parser.add_argument(
        "--partial", action="store_true", help="train nothing; report what is there"
    )
    parser.add_argument("--parts", nargs="*", help="train only these parts, score nothing")
    parser.add_argument("--recipes", nargs="*", help="with --parts: train only these recipes")
    parser.add_argument("--quick", action="store_true", help="small and fast; keeps no result")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    return parser.parse_args()


def main() -> int:
    """Run a sitting; 3 if cells are left."""
    options = _options()
    work: Path = options.work / ("quick" if options.quick else "full")
    work.mkdir(parents=True, exist_ok=True)
    texts: dict[str, CachedEncoder] = {
        "mean": CachedEncoder(open_text_encoder(DEFAULT_TEXT, "mean"), work / "mean.npz"),
        "cls": CachedEncoder(open_text_encoder(DEFAULT_TEXT, "cls"), work / "cls.npz"),
    }
    until = None if options.minutes is None else time.monotonic() + 60 * options.minutes
    given: Mapping[str, TextEncoder] = texts
    cells = Cells(work / "cells", _corpora(options.dataset, options.work), given, until)
    plan = QUICK if options.quick else FULL
    try:
        with computing(1):
            if options.parts:
                kept = {r: o for r, o in plan.options.items() if r in (options.recipes or [r])}
                train_parts(replace(plan, options=kept), cells, options.parts)
                return 0
            found = run(replace(plan, partial=options.partial), cells)
    except OutOfTimeError as left:
        print(f"time is over before {left}; run again to go on", file=sys.stderr)
        return 3
    finally:
        for encoder in texts.values():
            encoder.save()
    if options.quick:
        write_report(found, None, None)
    else:
        write_report(found, options.out, PICTURE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
