"""What is tried again while a scene is read."""

from __future__ import annotations

import pytest

from landmark import patches
from landmark.cog.known import KnownHeaders
from landmark.grid import Frame
from landmark.scenes import BandAsset, Scene
from landmark.schema import s2_layout
from landmark.signing import NO_ACCESS, signer


def test_a_scene_that_lacks_a_band_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_pause(seconds: float) -> None:
        raise AssertionError("nothing was asked for, so nothing can heal")

    monkeypatch.setattr(patches.time, "sleep", no_pause)
    scene = Scene(
        sensor="s2", provider="t", collection="t", item="t", platform="S2A",
        time="2023-07-04T10:10:31Z", bands=(BandAsset("B03", "https://example.invalid/a.tif"),),
        unit="dn", unit_source="item", quantity="reflectance",
    )  # fmt: skip
    source = patches._Source(lambda href: href, signer(NO_ACCESS), KnownHeaders())
    frames = {5: Frame("f", 32632, 600_000.0, 5_100_000.0)}
    found = list(patches._read_scene(scene, frames, s2_layout(("B02",)), source))
    assert found == [(5, "t: has no file for B02", 1)]
