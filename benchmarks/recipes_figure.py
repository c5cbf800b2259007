"""The figure of the study: relative gains of `concepts`, with intervals and what was asked."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import numpy as np

from benchmarks.recipes_rows import MAIN, Compared, case_of, part_of

_SHOWN = ("single", "combination", "held_out", "paraphrase", "unseen", "graded100", "graded1000")
_COLOURS = {"published-tuned": "C0", "clip": "C2", "multilabel": "C1"}


def draw_differences(
    rows: Sequence[Compared], parts: Sequence[tuple[str, str]], targets: Mapping[str, float]
) -> bytes:
    """Return a PNG: a panel per part, a line per case, a point per peer.

    Args:
        rows: All rows of the result file.
        parts: (name, title) of each panel.
        targets: Case -> least relative gain asked of the main part: a bar in the peer's colour.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 2 + 2.9 * -(-len(parts) // 2)), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(-(-len(parts) // 2), 2, squeeze=False).ravel()
    for panel, (part, title) in zip(panels, parts, strict=False):
        own = [r for r in rows if r.difference is not None and r.row.subject == "concepts"]
        own = [r for r in own if part_of(r) == part]
        cases = [case for case in _SHOWN if any(case_of(r) == case for r in own)]
        for place, (peer, colour) in enumerate(_COLOURS.items()):
            _draw_peer(panel, [r for r in own if r.row.peer == peer], cases, place, colour, peer)
        for y, case in enumerate(cases):
            if case in targets and part == MAIN:
                # What was asked against the published recipe.
                panel.plot([100 * targets[case]], [y], marker="|", ms=18, mew=2, color="C0")
        panel.axvline(0, color="0.6", linewidth=0.8)
        panel.set_yticks(range(len(cases)), cases)
        panel.invert_yaxis()
        panel.set(title=title, xlabel="gain of concepts, % of the peer's score")
        panel.spines[["top", "right"]].set_visible(False)
    for panel in panels[len(parts) :]:
        panel.set_visible(False)
    handles, names = panels[0].get_legend_handles_labels()
    shown = [f"against {name}" for name in names]
    figure.legend(handles, shown, loc="outside upper center", ncols=len(shown), frameon=False)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=100, metadata={"Software": None})
    return picture.getvalue()


def _draw_peer(panel, rows, cases, place, colour, label):  # type: ignore[no-untyped-def]
    held = {case_of(row): row for row in rows}
    shown = [(y, held[case]) for y, case in enumerate(cases) if case in held]
    if not shown:
        return
    # The interval is of the difference; the peer's own mean turns it into per cent.
    base = np.array([row.difference / row.relative if row.relative else np.nan for _, row in shown])
    middle = np.array([100 * row.relative for _, row in shown])
    low = 100 * np.array([row.low for _, row in shown]) / base
    high = 100 * np.array([row.high for _, row in shown]) / base
    heights = np.array([y for y, _ in shown]) + 0.22 * (place - 1)
    # A difference lies within its interval, but for the rounding of the file.
    reach = np.maximum([middle - low, high - middle], 0)
    panel.errorbar(middle, heights, xerr=reach, fmt="o", ms=4, color=colour, label=label)
