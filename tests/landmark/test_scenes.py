"""A scene is what its JSON says, whichever way it is made."""

from __future__ import annotations

import json
import math
import pickle
from dataclasses import FrozenInstanceError, replace

import pytest

from landmark.scenes import BandAsset, Scene

LEAST = Scene(
    sensor="s2", provider="t", collection="t", item="t", platform="S2A",
    time="2023-07-04T10:10:31Z", bands=(BandAsset("B02", "a.tif"),), unit="dn",
    unit_source="item", quantity="reflectance",
)  # fmt: skip


def test_what_older_plans_leave_out_has_its_default() -> None:
    raw = json.loads(LEAST.to_json())
    for name in ("event", "form", "tags", "tags_level", "split", "notes", "snow"):
        del raw[name]
    assert Scene.from_json(json.dumps(raw)) == LEAST


def test_a_scene_from_json_is_a_scene_like_any_other() -> None:
    scene = Scene.from_json(LEAST.to_json())
    assert (scene, hash(scene), repr(scene)) == (LEAST, hash(LEAST), repr(LEAST))
    assert pickle.loads(pickle.dumps(scene)) == LEAST
    with pytest.raises(FrozenInstanceError):
        scene.__setattr__("item", "other")


@pytest.mark.parametrize(("name", "value"), [("renamed", 1), ("platform", None)])
def test_fields_that_are_not_a_scenes_are_refused(name: str, value: object) -> None:
    raw = json.loads(LEAST.to_json())
    if value is None:
        del raw[name]
    else:
        raw[name] = value
    with pytest.raises(TypeError, match=name):
        Scene.from_json(json.dumps(raw))


def test_nodata_may_be_nan() -> None:
    found = Scene.from_json(replace(LEAST, nodata=math.nan).to_json())
    assert found.nodata is not None
    assert math.isnan(found.nodata)
    assert replace(found, nodata=None) == LEAST
