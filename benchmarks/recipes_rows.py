"""The rows of `results/recipes.json`: paired differences, and what was asked of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

import numpy as np

from benchmarks.recipes_measuring import CASES, Difference
from benchmarks.recipes_scores import AS_TYPED, Findings
from benchmarks.recording import Row, machine, package_versions

NAME = "recipes"
#: The part the targets are held against, and what stands before the cases of the others.
MAIN = "sandbox-net"
#: Case -> least relative gain over the tuned published recipe (None: not below by more).
TARGETS: MappingProxyType[str, float] = MappingProxyType(
    {"single": 0.10, "combination": 0.30, "paraphrase": 0.20, "unseen": 0.15}
)
#: Graded nDCG may lie this far below.
GRADED = 0.02
PEERS: MappingProxyType[str, str] = MappingProxyType(
    {
        "published": "published-tuned",
        "multilabel": "multilabel",
        "clip": "clip",
        AS_TYPED: "published-tuned, text as typed",
    }
)
_LIBRARIES = ("landmark", "numpy", "timm", "torch", "transformers")


@dataclass(frozen=True)
class Compared:
    """One row of the result file: `recording.Row`, and the paired difference.

    Attributes:
        row: Medians and ratios over seeds.
        difference: Mean over seeds of ours minus the peer's.
        low: Lower end of its 90 % interval.
        high: Upper end.
        relative: The difference over the peer's mean.
        target: What the design asks for, or None.
        met: Whether it is met, or None.
    """

    row: Row
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    relative: float | None = None
    target: str | None = None
    met: bool | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values: the row's fields, then the others."""
        own = asdict(self)
        return {**own.pop("row"), **own}


def compared(found: Sequence[Findings]) -> list[Compared]:
    """Return all rows of the result file: `concepts` against each peer, case by case."""
    rows: list[Compared] = []
    for part in found:
        for ours in ("concepts", "concepts, label sets"):
            for peer, shown in PEERS.items():
                if peer not in part.rows:
                    continue
                rows.extend(_against(part, ours, peer, shown))
        rows.extend(_cpu(part))
    return rows


def part_of(row: Compared) -> str:
    """Return the part a row belongs to."""
    part, slash, _ = row.row.case.partition("/")
    return part if slash else MAIN


def case_of(row: Compared) -> str:
    """Return the case of a row, its part taken away."""
    return row.row.case.rpartition("/")[2]


def case_name(part: str, case: str) -> str:
    """Return a case as the result file names it."""
    return case if part == MAIN else f"{part}/{case}"


def _against(part: Findings, ours: str, peer: str, shown: str) -> Iterator[Compared]:
    one, other = part.rows[ours], part.rows[peer]
    for case, found in one.against(other).items():
        if peer == AS_TYPED and case != "paraphrase":
            continue  # a class name typed is a class name understood
        target, met = verdict(case, peer, found)
        a, b = one.values(case), other.values(case)
        yield Compared(
            _row(part.part, case, ours, shown, CASES[case][0], a, b),
            difference=round(found.difference, 5),
            low=round(found.low, 5),
            high=round(found.high, 5),
            relative=round(found.relative, 5),
            target=target,
            met=met,
        )


def verdict(case: str, peer: str, found: Difference) -> tuple[str | None, bool | None]:
    """Return what is asked of a difference, and whether it is so; None where nothing is asked."""
    if peer == "published" and case in TARGETS:
        met = found.low > 0 and found.relative >= TARGETS[case]
        return f">= +{TARGETS[case]:.0%}, interval above 0", met
    if peer == "published" and case.startswith("graded"):
        return f">= -{GRADED}", found.difference >= -GRADED
    if peer == "multilabel" and case in TARGETS:
        # Level: the interval holds 0, or concepts is ahead.
        return "level: interval not below 0", found.high >= 0
    return None, None


def _cpu(part: Findings) -> Iterator[Compared]:
    ours = part.rows["concepts"]
    for peer, shown in PEERS.items():
        if peer == AS_TYPED or peer not in part.rows:
            continue
        if part.rows[peer].tried.chosen == ours.tried.chosen:
            continue  # one training serves both
        a, b = ([one.cpu_s for one in row.tried.chosen] for row in (ours, part.rows[peer]))
        yield Compared(_row(part.part, "training", "concepts", shown, "cpu_s", a, b))


def _row(
    part: str,
    case: str,
    ours: str,
    peer: str,
    metric: str,
    a: Sequence[float],
    b: Sequence[float],
) -> Row:
    ratios = [x / y for x, y in zip(a, b, strict=True)]
    return Row(
        benchmark=NAME,
        case=case_name(part, case),
        subject=ours,
        peer=peer,
        metric=metric,
        ours_median=round(float(np.median(a)), 5),
        peer_median=round(float(np.median(b)), 5),
        ratio_median=round(float(np.median(ratios)), 4),
        ratio_min=round(min(ratios), 4),
        ratio_max=round(max(ratios), 4),
        runs=len(ratios),
        date=datetime.now(UTC).date().isoformat(),
        versions=package_versions(*_LIBRARIES),
        machine=machine(),
    )
