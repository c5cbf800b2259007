"""The one number per run and sensor, and the classes it leaves out."""

from __future__ import annotations

import pytest

from baselines.evaluation import EvaluationRow
from baselines.headline import headline, headline_table


def test_headline_leaves_out_classes_most_patches_carry() -> None:
    def row(run: str, name: str, metric: str, value: float) -> EvaluationRow:
        return EvaluationRow(
            run, None, "s2", "single", name, "all", "binary", False, metric, None, value, None, None
        )

    rows = [
        row("baseline:random", "Water", "r_precision", 0.5),
        row("baseline:random", "Water", "map", 0.52),
        row("clip", "Water", "map", 0.78),
        row("baseline:random", "Crops", "r_precision", 0.51),
        row("baseline:random", "Crops", "map", 0.55),
        row("clip", "Crops", "map", 0.99),
    ]
    clip, chance = headline(rows)
    assert (clip.run, clip.classes, clip.value) == ("clip", 1, 0.78)
    assert clip.ratio == pytest.approx(1.5)
    assert (chance.run, chance.value, chance.ratio) == ("baseline:random", 0.52, 1.0)
    table = headline_table((clip, chance))
    assert table.columns == ("run", "mAP s2", "s2 / random")
    assert table.rows == (("clip", 0.78, 1.5), ("baseline:random", 0.52, 1.0))
