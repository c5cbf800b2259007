"""The audit finds the leaks that are there, names the worst, and no others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harmonize.audit import Audit, Finding, Limits, audit, nearest
from harmonize.foreign_splits import published_split, read_split
from harmonize.indexing import INDEX_SCHEMA, places_of
from landmark.errors import InputError
from landmark.taxonomy import ALL_MASK
from tests.harmonize.test_splits import joined, lattice


def index_of(cells: list[tuple[int, int]], **columns: list[Any]) -> pa.Table:
    """An index of patches at cells; columns that are not given are dull."""
    places = lattice(cells)
    n = len(cells)
    dull: dict[str, list[Any]] = {
        "patch_id": [f"p{i}" for i in range(n)],
        "sensor": ["s1"] * n,
        "label_mask": [1] * n,
        "known_mask": [ALL_MASK] * n,
        "lon": places.lon.tolist(),
        "lat": places.lat.tolist(),
        "epsg": places.epsg.tolist(),
        "x_min": (places.x - 600).tolist(),
        "y_max": (places.y + 600).tolist(),
        "partner_id": [None] * n,
        "scene": [f"scene{i}" for i in range(n)],
        "datatake": [f"pass{i}" for i in range(n)],
        "event_ids": [[] for _ in range(n)],
    }
    values = dull | columns
    return pa.table(
        {name: pa.array(v, INDEX_SCHEMA.field(name).type) for name, v in values.items()}
    )


def finding(result: Audit, check: str) -> Finding:
    return next(f for f in result.findings if f.check == check)


FAR = [(400, 4000), (420, 4000), (440, 4000), (460, 4000)]
SPLIT = np.array(["train", "train", "corpus", "corpus"])


def test_a_clean_split_holds() -> None:
    result = audit(index_of(FAR), SPLIT, Limits())
    assert result.ok
    assert result.patches == {"corpus": 2, "train": 2}
    assert finding(result, "distance").value == pytest.approx(24_000, rel=2e-3)


@pytest.mark.parametrize(("apart", "ok"), [(1, False), (2, True)])
def test_distance_is_that_of_the_buffer(apart: int, ok: bool) -> None:
    cells = [(400, 4000), (400 + apart, 4000)]
    result = finding(audit(index_of(cells), np.array(["train", "corpus"]), Limits()), "distance")
    assert result.ok is ok
    assert result.value == pytest.approx(1200 * apart, rel=2e-3)
    if not ok:
        assert "p0 (train)" in result.worst[0]
        assert "p1 (corpus)" in result.worst[0]
        assert "looks alike" in result.text


@pytest.mark.parametrize(
    ("check", "columns", "worst"),
    [
        ("scene", {"scene": ["a", "b", "b", None]}, "scene b: 1 in corpus, 1 in train"),
        ("datatake", {"datatake": ["a", "b", "c", "a"]}, "datatake a: 1 in corpus, 1 in train"),
        (
            "event",
            {"event_ids": [["flood:1"], ["flood:1", "fire:2"], [], ["flood:1"]]},
            "event flood:1: 1 in corpus, 2 in train",
        ),
        (
            "pair",
            {"partner_id": ["p3", None, "gone", None]},
            "S1-S2 pair p0: 1 in corpus, 1 in train",
        ),
    ],
)
def test_what_is_shared_is_named_and_may_be_allowed(
    check: str, columns: dict[str, list[Any]], worst: str
) -> None:
    index = index_of(FAR, **columns)
    result = audit(index, SPLIT, Limits())
    assert [f.check for f in result.findings if not f.ok] == [check]
    assert finding(result, check).value == 1
    assert finding(result, check).worst == (worst,)
    assert audit(index, SPLIT, Limits(shared=frozenset({check}))).ok
    # What is in no split leaks to none.
    without = np.array(["train", "train", "", ""])
    assert finding(audit(index, without, Limits()), check).ok


def test_drift_of_labels_and_sensors_is_found() -> None:
    cells = [(400 + 10 * (i % 2) * 10, 4000) for i in range(200)]
    split = np.array(["train" if i % 2 else "corpus" for i in range(200)])
    masks = [0b11 if i % 2 else 0b01 for i in range(200)]
    sensors = ["s1" if i % 2 else "s2" for i in range(200)]
    result = audit(index_of(cells, label_mask=masks, sensor=sensors), split, Limits())
    assert [f.check for f in result.findings if not f.ok] == ["labels", "sensors"]
    labels = finding(result, "labels")
    assert labels.value == 0.5
    assert labels.worst[0].startswith("Trees: 0.0% of the patches carry it in corpus, 50.0% in all")
    # Unknown is not absent: where only train decided, there is nothing to compare.
    known = [ALL_MASK if i % 2 else 1 for i in range(200)]
    decided = audit(index_of(cells, label_mask=masks, known_mask=known), split, Limits())
    assert finding(decided, "labels").ok


@settings(max_examples=20, deadline=None)
@given(
    cells=st.lists(
        st.tuples(st.integers(400, 420), st.integers(4000, 4015)), min_size=2, max_size=40
    )
)
def test_nearest_equals_brute_force(cells: list[tuple[int, int]]) -> None:
    places = lattice(cells)
    half = len(cells) // 2
    first, second = np.arange(half), np.arange(half, len(cells))
    if not first.size:
        return
    distance, row = nearest(places, first, second)
    apart = np.hypot(
        places.x[first][:, None] - places.x[second], places.y[first][:, None] - places.y[second]
    )
    np.testing.assert_allclose(distance, apart.min(axis=1), rtol=1.2e-3, atol=1e-3)
    assert set(row.tolist()) <= set(second.tolist())


def test_distance_crosses_zones_and_the_antimeridian() -> None:
    from harmonize.places import Places

    def at(lon: float, epsg: int) -> Places:
        one = np.zeros(1)
        return Places(np.array([epsg]), one, one, np.array([lon]), np.zeros(1))

    both = joined(at(179.995, 32660), at(-179.995, 32601))
    distance, _ = nearest(both, np.array([0]), np.array([1]))
    assert distance[0] == pytest.approx(1113.2, abs=0.5)  # 0.01 degree of the equator


def test_the_published_style_leaks() -> None:
    cells = [(400 + i, 4000 + j) for i in range(12) for j in range(12)]
    scenes = {"scene": ["one"] * 144}
    index = index_of(cells, **scenes)
    split = published_split(index, seed=1)
    assert (split == "train").mean() == pytest.approx(0.2, abs=0.02)
    result = audit(index, split, Limits())
    assert [f.check for f in result.findings if not f.ok] == ["distance", "scene"]
    assert finding(result, "distance").value == pytest.approx(1200, rel=2e-3)


def test_a_foreign_split_is_read(tmp_path: Path) -> None:
    path = tmp_path / "split.csv"
    path.write_text("split,note,patch_id\ntrain,x,p1\ntest,,p0\n,,p3\n")
    assert read_split(path, ["p0", "p1", "p2", "p3"]).tolist() == ["test", "train", "", ""]
    path.write_text("patch_id\tsplit\np0\ttrain\n")
    assert read_split(path, ["p0"]).tolist() == ["train"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r":1: no column 'patch_id' among none"),
        ("patch_id,fold\np0,1\n", r":1: no column 'split' among patch_id, fold"),
        ("patch_id,split\np0,train\npX,train\n", r":3: patch_id: the dataset has no patch 'pX'"),
        ("patch_id,split\np0,train\np0,val\n", r":3: patch_id: 'p0' stands twice"),
        ("patch_id,split\np0\n", r":2: split: the line ends before it"),
        ("patch_id,split\np0,\n", r"puts no patch in a split"),
        (b"patch_id,split\n\xff\xfe\n", r"cannot be read as a CSV file"),
    ],
)
def test_wrong_files_are_one_clear_line(tmp_path: Path, text: str | bytes, message: str) -> None:
    path = tmp_path / "split.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=message) as caught:
        read_split(path, ["p0", "p1"])
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=80))
def test_any_bytes_give_a_split_or_an_input_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.mktemp("bytes") / "split.csv"
    path.write_bytes(b"patch_id,split\n" + data)
    try:
        split = read_split(path, ["p0", "0"])
    except InputError:
        return
    assert split.shape == (2,)


def test_places_are_those_of_the_index() -> None:
    index = index_of(FAR)
    np.testing.assert_allclose(places_of(index).x, lattice(FAR).x)
