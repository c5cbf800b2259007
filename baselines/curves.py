"""The picture of a run: loss by step, validation score by epoch."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np

_NAMES = {"s1": "Sentinel-1", "s2": "Sentinel-2"}
#: Steps averaged into the heavy line of the loss.
_SMOOTHING = 25


def draw_curves(rows: Sequence[dict[str, Any]], title: str) -> bytes:
    """Return the picture of a run as PNG bytes.

    Args:
        rows: Of metrics.jsonl: `kind` is `step` (loss, lr) or `epoch` (val: sensor -> mAP).
        title: Above the picture.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    steps = [row for row in rows if row["kind"] == "step"]
    epochs = [row for row in rows if row["kind"] == "epoch"]
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    figure.suptitle(title)

    losses = np.array([row["loss"] for row in steps])
    left.plot(np.arange(1, len(losses) + 1), losses, color="0.8", linewidth=0.8)
    window = min(_SMOOTHING, len(losses))
    if window:
        smooth = np.convolve(losses, np.ones(window) / window, mode="valid")
        left.plot(np.arange(window, len(losses) + 1), smooth, color="C0", label=f"mean of {window}")
        left.legend(frameon=False)
    left.set(xlabel="step", ylabel="training loss")

    sensors = sorted({sensor for row in epochs for sensor in row["val"]})
    for sensor in sensors:
        points = [(row["epoch"], row["val"][sensor]) for row in epochs if sensor in row["val"]]
        right.plot(*zip(*points, strict=True), marker=".", label=_NAMES.get(sensor, sensor))
    if sensors:
        right.legend(frameon=False)
    right.set(xlabel="epoch", ylabel="mAP, single classes, val", ylim=(0, 1))
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)

    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=110, metadata={"Software": None})
    return picture.getvalue()
