"""What the study has to say: rows of differences, the tables of `results/recipes.md`, a figure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from benchmarks.recipes_answering import SETS
from benchmarks.recipes_figure import draw_differences
from benchmarks.recipes_measuring import CASES, Difference
from benchmarks.recipes_scores import Findings, Tried
from benchmarks.recipes_scores import Row as Scored
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
    {"published": "published-tuned", "multilabel": "multilabel", "clip": "clip"}
)
TITLES: MappingProxyType[str, str] = MappingProxyType(
    {
        "sandbox-net": "Sandbox, end to end",
        "sandbox-features": "Sandbox, heads on a frozen trunk",
        "real-net": "Real tiles, end to end",
        "real-features": "Real tiles, heads on a frozen trunk",
    }
)
_TEXTS = Path(__file__).parent / "recipes_text.md"
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
    rows = []
    for part in found:
        for ours in ("concepts", "concepts, label sets"):
            for peer, shown in PEERS.items():
                rows.extend(_against(part, ours, peer, shown))
        rows.extend(_cpu(part))
    return rows


def case_name(part: str, case: str) -> str:
    """Return a case as the result file names it."""
    return case if part == MAIN else f"{part}/{case}"


def _against(part: Findings, ours: str, peer: str, shown: str) -> Iterator[Compared]:
    one, other = part.rows[ours], part.rows[peer]
    for case, found in one.against(other).items():
        target, met = verdict(case, peer, found)
        yield Compared(
            _row(part.part, case, ours, shown, CASES[case][0], one.values(case), other.values(case)),
            *(round(x, 5) for x in (found.difference, found.low, found.high, found.relative)),
            target,
            met,
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


def write_report(found: Sequence[Findings], out: Path | None, picture: Path | None) -> None:
    """Print the report and, where a folder is named, write `recipes.json`, `.md` and the figure."""
    rows = compared(found)
    text = markdown(found, rows)
    print(text)
    if out is None or picture is None:
        return
    lines = ",\n ".join(json.dumps(row.to_dict()) for row in rows)
    (out / f"{NAME}.json").write_text(f"[\n {lines}\n]\n")
    (out / f"{NAME}.md").write_text(text)
    picture.write_bytes(draw_differences(rows, [(p.part, TITLES[p.part]) for p in found], TARGETS))


def markdown(found: Sequence[Findings], rows: Sequence[Compared]) -> str:
    """Return the report: words from `recipes_text.md`, tables from the findings."""
    words = _words()
    lines = [words["head"], ""]
    order = [MAIN, *(part.part for part in found if part.part != MAIN)]
    by_name = {part.part: part for part in found}
    for name in order:
        if name in by_name:
            lines += _part(by_name[name], rows)
    lines += [words["tried"], ""]
    for name in order:
        if name in by_name and any("," in row for row in by_name[name].tried):
            lines += _tries(by_name[name])
    lines += [words["tail"], "", _stated(rows)]
    return "\n".join(lines) + "\n"


def _words() -> Mapping[str, str]:
    parts = _TEXTS.read_text(encoding="utf-8").split("<!-- ")[1:]
    return {part.split(" -->")[0]: part.split(" -->", 1)[1].strip() for part in parts}


def _part(part: Findings, rows: Sequence[Compared]) -> list[str]:
    cases = [case for case in CASES if case in part.rows["concepts"].scores]
    lines = [f"### {TITLES[part.part]}", ""]
    lines += _table(["row", "answers by", "option", "rate", *cases, "CPU s"], _score_lines(part, cases))
    lines += ["", "Differences, paired (ours - peer, 90 % interval, relative):", ""]
    shown = [r for r in rows if r.difference is not None and _of(part, r)]
    lines += _table(
        ["case", "ours", "peer", "difference", "interval", "relative", "asked", "met"],
        [_difference_line(row) for row in shown],
    )
    return [*lines, ""]


def _of(part: Findings, row: Compared) -> bool:
    prefix = f"{part.part}/"
    return row.row.case.startswith(prefix) if part.part != MAIN else "/" not in row.row.case


def _score_lines(part: Findings, cases: Sequence[str]) -> list[list[str]]:
    return [
        [
            PEERS.get(name, name),
            row.way,
            row.tried.chosen[0].cell.option,
            f"{row.tried.chosen[0].cell.lr:g}",
            *(_spread(row, case) for case in cases),
            f"{row.cpu_s:.1f}",
        ]
        for name, row in part.rows.items()
    ]


def _spread(row: Scored, case: str) -> str:
    values = row.values(case)
    return f"{np.mean(values):.3f}±{np.std(values):.3f}"


def _difference_line(row: Compared) -> list[str]:
    assert row.difference is not None and row.relative is not None
    met = "" if row.met is None else ("yes" if row.met else "**no**")
    return [
        row.row.case.rpartition("/")[2],
        row.row.subject,
        row.row.peer or "",
        f"{row.difference:+.3f}",
        f"{row.low:+.3f} .. {row.high:+.3f}",
        f"{row.relative:+.1%}",
        row.target or "",
        met,
    ]


def _tries(part: Findings) -> list[str]:
    """Return what was tried on val for `concepts`, and the grids."""
    lines = [f"### Val, {TITLES[part.part].lower()}", ""]
    plain = part.tried["concepts, plain"]
    table = []
    for name, tried in part.tried.items():
        if "," in name:
            for way in dict.fromkeys((tried.way(("dial",)), tried.way((SETS,)))):
                table.append([name, way, f"{tried.val(way):.4f}", _gains(tried, plain, way)])
    lines += _table(["change", "answers by", "criterion", "against plain, seed by seed"], table)
    lines += ["", "Tried on the first seed:", ""]
    for name, tried in part.tried.items():
        if tried.grid:
            best = max(tried.grid, key=lambda one: one.best())
            listed = ", ".join(
                f"{one.cell.option} {one.cell.lr:g}: "
                + (f"**{one.best():.4f}**" if one is best else f"{one.best():.4f}")
                for one in tried.grid
            )
            lines.append(f"- {PEERS.get(name, name)}: {listed}")
    return [*lines, ""]


def _gains(tried: Tried, plain: Tried, way: str) -> str:
    base = plain.way(("dial",))
    pairs = zip(tried.chosen, plain.chosen, strict=True)
    return ", ".join(f"{one.value(way) - other.value(base):+.4f}" for one, other in pairs)


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> list[str]:
    bar = "|".join("---" for _ in head)
    return [f"| {' | '.join(head)} |", f"|{bar}|", *(f"| {' | '.join(line)} |" for line in lines)]


def _stated(rows: Sequence[Compared]) -> str:
    versions = ", ".join(f"{k} {v}" for k, v in rows[0].row.versions.items())
    return f"Measured {rows[0].row.date} on {rows[0].row.machine}. Versions: {versions}."
