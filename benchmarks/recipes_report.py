"""What the study has to say: the tables of `results/recipes.md` around words kept by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np

from benchmarks.recipes_answering import SETS
from benchmarks.recipes_figure import draw_differences
from benchmarks.recipes_measuring import CASES
from benchmarks.recipes_rows import MAIN, NAME, PEERS, TARGETS, Compared, case_of, compared, part_of
from benchmarks.recipes_scores import Findings, Tried
from benchmarks.recipes_scores import Row as Scored

TITLES: MappingProxyType[str, str] = MappingProxyType(
    {
        "sandbox-net": "Sandbox, end to end",
        "sandbox-features": "Sandbox, heads on a frozen trunk",
        "real-net": "Real tiles, end to end",
        "real-features": "Real tiles, heads on a frozen trunk",
    }
)
_TEXTS = Path(__file__).parent / "recipes_text.md"


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
    lines += _table(
        ["row", "answers by", "option", "rate", *cases, "CPU s"], _score_lines(part, cases)
    )
    lines += ["", "Differences, paired (ours - peer, 90 % interval, relative):", ""]
    shown = [
        row
        for row in rows
        if row.difference is not None
        and part_of(row) == part.part
        and row.row.subject == "concepts"
    ]
    lines += _table(
        ["case", "ours", "peer", "difference", "interval", "relative", "asked", "met"],
        [_difference_line(row) for row in shown],
    )
    return [*lines, ""]


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
    assert row.difference is not None
    assert row.relative is not None
    met = "" if row.met is None else ("yes" if row.met else "**no**")
    return [
        case_of(row),
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
    plain = part.tried.get("concepts, plain", part.tried["concepts"])
    table: list[list[str]] = []
    for name, tried in part.tried.items():
        if "," in name:
            table += [
                [name, way, f"{tried.val(way):.4f}", _gains(tried, plain, way)]
                for way in (tried.way(("dial",)), tried.way((SETS,)))
            ]
    lines += _table(["change", "answers by", "criterion", "against plain, seed by seed"], table)
    lines += ["", "Tried on the first seed:", ""]
    for name, tried in part.tried.items():
        if tried.grid:
            scores = [one.best(name) for one in tried.grid]
            listed = ", ".join(
                f"{one.cell.option} {one.cell.lr:g}: "
                + (f"**{score:.4f}**" if score == max(scores) else f"{score:.4f}")
                for one, score in zip(tried.grid, scores, strict=True)
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
