"""Charts of an index as PNG bytes: drawn without a display, the same bytes every time."""

from __future__ import annotations

import io

from harmonize.statistics import Statistics
from landmark.dataset import SPLITS
from landmark.pictures import CLASS_COLOURS
from landmark.taxonomy import CLASSES

_SPLIT_COLOURS = {"train": "#3b6ea8", "val": "#e0a030", "corpus": "#4d9a6a"}
_SENSOR_NAMES = {"s1": "Sentinel-1", "s2": "Sentinel-2"}


def class_histogram(statistics: Statistics) -> bytes:
    """Draw the prevalence of every class per split, one panel per sensor.

    The number at a bar is the number of patches that carry the class; a class decided nowhere in
    a split has no bar but a dash.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    sensors = statistics.sensors
    figure = Figure(figsize=(5.2 * len(sensors) + 1.4, 7.6), dpi=110, layout="constrained")
    panels = figure.subplots(1, len(sensors), sharey=True, squeeze=False)[0]
    height = 0.8 / len(SPLITS)
    most = max((count.prevalence or 0.0 for count in statistics.classes.values()), default=0.0)
    for axes, sensor in zip(panels, sensors, strict=True):
        for number, split in enumerate(SPLITS):
            counts = [statistics.classes[sensor, split, name] for name in CLASSES]
            places = [row + (number - (len(SPLITS) - 1) / 2) * height for row in range(12)]
            axes.barh(
                places,
                [100 * (count.prevalence or 0.0) for count in counts],
                height * 0.92,
                color=_SPLIT_COLOURS[split],
                label=f"{split} ({statistics.patches[sensor, split]})",
            )
            for place, count in zip(places, counts, strict=True):
                share = count.prevalence
                axes.annotate(
                    "-" if share is None else str(count.present),
                    (100 * (share or 0.0), place),
                    xytext=(3, 0),
                    textcoords="offset points",
                    va="center",
                    fontsize=7,
                    color="#444444",
                )
        axes.set_title(
            f"{_SENSOR_NAMES[sensor]}, patches by split", fontsize=12, loc="left", pad=26
        )
        axes.set_xlabel("share of the patches in which the class was decided, %")
        axes.set_xlim(0, max(100 * most * 1.12, 1.0))
        axes.grid(axis="x", color="#dddddd", linewidth=0.7)
        axes.set_axisbelow(True)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(axis="y", length=0, pad=7)
        # Above the bars, which may reach everywhere else.
        axes.legend(
            loc="lower left",
            bbox_to_anchor=(0.0, 1.0),
            ncols=len(SPLITS),
            fontsize=9,
            frameon=False,
            handlelength=1.2,
            columnspacing=1.4,
            borderaxespad=0.3,
            borderpad=0.0,
        )
    panels[0].set_yticks(range(len(CLASSES)), CLASSES)
    panels[0].set_ylim(len(CLASSES) - 0.4, -0.6)
    for label, name in zip(panels[0].get_yticklabels(), CLASSES, strict=True):
        label.set_bbox(
            {"facecolor": CLASS_COLOURS[name], "alpha": 0.35, "edgecolor": "none", "pad": 2.5}
        )
    FigureCanvasAgg(figure)
    sink = io.BytesIO()
    # Without `Software` the bytes do not change with the version of matplotlib alone.
    figure.savefig(sink, format="png", facecolor="white", metadata={"Software": None})
    return sink.getvalue()
