from __future__ import annotations

import datetime as dt
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from baselines import vector_files
from baselines.concept_queries import class_names
from baselines.documents import read_documents
from baselines.embedding import align, embed
from baselines.filters import Filters
from baselines.search import search, search_like
from landmark.dataset import Dataset
from landmark.errors import InputError, LandmarkError
from landmark.taxonomy import CLASSES
from tests.baselines.tiny_dataset import (
    START,
    FakeRuns,
    Patch,
    make_dataset,
    mask,
    random_patches,
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("made") / "data"
    return make_dataset(root, {"corpus": random_patches(15, "c", 3)}, rows=4).root


@pytest.fixture
def dataset(made: Path, tmp_path: Path) -> Dataset:
    return Dataset(shutil.copytree(made, tmp_path / "data"))


@pytest.fixture
def runs(dataset: Dataset) -> FakeRuns:
    return FakeRuns(dataset.root, {"clip": "embedding", "bce": "classes"})


@pytest.mark.parametrize("sensor", [None, "s1", "s2"])
@pytest.mark.parametrize("top", [1, 7, 1000])
def test_hits_are_the_full_sort_of_all_scores(
    dataset: Dataset,
    runs: FakeRuns,
    sensor: str | None,
    top: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(vector_files, "BLOCK_ROWS", 4)  # several blocks per file
    text = "flooded area next to crops"
    result = search(dataset.root, text, filters=Filters(sensor), top=top, open_run=runs)
    run = runs(dataset.root, "clip")
    documents = read_documents(dataset, "corpus").of_sensor(sensor or "both")
    files = embed(dataset.root, run, sensors=(sensor,) if sensor else ("s1", "s2"))
    scores = align(files, documents) @ run.model.encode_texts([text])[0]
    names = documents.table["patch_id"].to_pylist()
    slow = sorted(range(len(names)), key=lambda i: (-round(float(scores[i]), 5), names[i]))
    assert [hit.patch_id for hit in result.rows] == [names[i] for i in slow][:top]
    assert [hit.rank for hit in result.rows] == list(range(1, min(top, len(names)) + 1))
    assert result.gallery == len(names)
    assert {"Flooded Area", "Crops"} & set(result.rows[0].labels)


def test_a_hit_tells_what_its_patch_is_and_where_its_image_lies(
    dataset: Dataset, runs: FakeRuns
) -> None:
    hit = search(dataset.root, "snow and ice", filters=Filters("s2"), open_run=runs).rows[0]
    documents = read_documents(dataset, "corpus", ("labels", "caption")).table
    by_id = {line["patch_id"]: line for line in documents.to_pylist()}
    assert hit.labels == tuple(by_id[hit.patch_id]["labels"])
    assert hit.caption == by_id[hit.patch_id]["caption"]
    assert hit.acquired == "2023-05-01T10:00:00Z"
    assert (hit.lon, hit.lat) == (9.0, 45.0)
    stored = dataset.root / hit.shard
    assert stored in dataset.split_shards("s2", "corpus")


def test_json_rows_hold_exactly_the_documented_keys(dataset: Dataset, runs: FakeRuns) -> None:
    rows = search(dataset.root, "water", top=2, open_run=runs).to_list()
    assert [set(row) for row in rows] == [
        {"rank", "score", "patch_id", "sensor", "labels"},
    ] * 2


def test_ties_are_ranked_by_patch_id_over_both_sensors(tmp_path: Path) -> None:
    patches = [
        Patch("c", "s1", mask("Water")),
        Patch("a", "s2", mask("Water")),
        Patch("b", "s1", mask("Water")),
        Patch("0", "s1", mask("Trees")),
    ]
    dataset = make_dataset(tmp_path, {"corpus": patches})
    runs = FakeRuns(dataset.root, {"clip": "embedding"})
    found = search(dataset.root, "water", top=2, open_run=runs)
    assert [hit.patch_id for hit in found.rows] == ["a", "b"]


def test_the_gallery_is_embedded_once(dataset: Dataset, runs: FakeRuns) -> None:
    search(dataset.root, "water", open_run=runs)
    calls = runs(dataset.root, "clip").model.calls
    search(dataset.root, "crops", open_run=runs)
    assert runs(dataset.root, "clip").model.calls == calls > 0


def test_a_class_run_ranks_by_the_classes_named(dataset: Dataset, runs: FakeRuns) -> None:
    found = search(dataset.root, "crops without flooded area", "bce", top=1000, open_run=runs)
    assert found.understood == ("Crops", "not Flooded Area")
    fits = ["Crops" in hit.labels and "Flooded Area" not in hit.labels for hit in found.rows]
    assert any(fits)
    assert fits == sorted(fits, reverse=True)
    by_name = search(
        dataset.root, "crops without flooded area", "bce", top=1000, understand=False, open_run=runs
    )
    assert by_name.understood == found.understood
    assert by_name.request is None
    assert [hit.patch_id for hit in by_name.rows[: sum(fits)]] != []
    with pytest.raises(InputError, match=r"run 'bce' finds classes, not free text"):
        search(dataset.root, "a nice beach", "bce", understand=False, open_run=runs)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"text": ""}, "search text is empty"),
        ({"text": " ?! "}, "search text is empty"),
        ({"text": "water", "top": 0}, "--top is 0"),
        ({"text": "water", "filters": Filters("s3")}, "--sensor is 's3'"),
        ({"text": "water", "filters": Filters(split="test")}, "--split is 'test'"),
        ({"text": "water", "beta": 2.0}, "--beta is 2.0"),
        ({"text": "water", "beta": 0.5}, "has no class probabilities to weigh"),
    ],
)
def test_wrong_input_is_one_clear_line(
    dataset: Dataset, runs: FakeRuns, options: dict, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        search(dataset.root, open_run=runs, **options)
    assert not (dataset.runs / "clip" / "embeddings").exists()


def test_nothing_to_search_in_is_an_input_error(tmp_path: Path) -> None:
    patches = [patch for patch in random_patches(3, "c", 3) if patch.sensor == "s1"]
    dataset = make_dataset(tmp_path, {"corpus": patches, "train": random_patches(2, "t", 4)})
    runs = FakeRuns(dataset.root, {"clip": "embedding"})
    with pytest.raises(InputError, match="holds no s2 patches"):
        search(dataset.root, "water", filters=Filters("s2"), open_run=runs)
    del runs(dataset.root, "clip").bands["s2"]
    with pytest.raises(InputError, match="not trained on sensor s2"):
        search(dataset.root, "water", filters=Filters("s2"), open_run=runs)


def test_a_missing_run_says_what_to_run(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path, {"corpus": random_patches(1, "c", 3)})
    with pytest.raises(InputError, match="landmark train-baseline"):
        search(dataset.root, "water")
    with pytest.raises(InputError, match="landmark train-baseline"):
        search(dataset.root, "water", run="other")


def test_vectors_that_are_no_numbers_are_refused(
    dataset: Dataset, runs: FakeRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = runs(dataset.root, "clip").model
    monkeypatch.setattr(model, "encode_texts", lambda texts: np.full((1, 16), np.nan, np.float32))
    with pytest.raises(LandmarkError, match="NaN"):
        search(dataset.root, "water", open_run=runs)


@given(st.text(max_size=60), st.sampled_from(CLASSES), st.booleans(), st.text(max_size=20))
def test_a_class_name_is_found_in_any_text(before: str, name: str, shout: bool, after: str) -> None:
    text = f"{before} ; {name.upper() if shout else name.lower()} ; {after}"
    assert name in class_names(text)[0]


@pytest.mark.parametrize(
    ("text", "wanted", "absent"),
    [
        ("flooded vegetation", ("Flooded Vegetation",), ()),
        ("Shrub and scrub and bare", ("Shrub and Scrub", "Bare"), ()),
        ("no water, not Snow and Ice", (), ("Water", "Snow and Ice")),
        ("water without water", ("Water",), ()),
        ("rebuilt waterfall", (), ()),
        ("", (), ()),
    ],
)
def test_class_names_of_texts(text: str, wanted: tuple, absent: tuple) -> None:
    assert class_names(text) == (wanted, absent)


def test_a_search_by_image_crosses_sensors(dataset: Dataset, runs: FakeRuns) -> None:
    documents = read_documents(dataset, "corpus")
    by_mask = {}
    for patch_id, sensor, labels in zip(
        documents.table["patch_id"].to_pylist(),
        documents.sensors,
        documents.label_masks,
        strict=True,
    ):
        by_mask.setdefault((sensor, int(labels)), []).append(patch_id)
    for run in ("clip", "bce"):
        for (sensor, labels), patches in by_mask.items():
            other = "s2" if sensor == "s1" else "s1"
            found = search_like(dataset.root, patches[0], run, Filters(other), top=1, open_run=runs)
            assert found.rows[0].patch_id in by_mask[other, labels]
            assert found.like is not None
            assert (found.like.patch_id, found.like.sensor) == (patches[0], sensor)


def test_a_search_by_image_leaves_its_own_patch_out(dataset: Dataset, runs: FakeRuns) -> None:
    patch = read_documents(dataset, "corpus").table["patch_id"].to_pylist()[0]
    found = search_like(dataset.root, patch, top=1000, open_run=runs)
    assert patch not in [hit.patch_id for hit in found.rows]
    assert found.gallery == len(found.rows) == 29
    with pytest.raises(InputError, match=r"--like nowhere: .* holds no such patch"):
        search_like(dataset.root, "nowhere", open_run=runs)


def test_filters_narrow_the_gallery_and_the_last_one_to_empty_it_is_named(tmp_path: Path) -> None:
    day = START + dt.timedelta(days=1)
    patches = [
        Patch("a_s2", "s2", mask("Water"), facts={"lon": 9.0}, events=(("flood", "F1", "during"),)),
        Patch("b_s2", "s2", mask("Water"), facts={"lon": 10.0, "datetime": day}),
        Patch("c_s1", "s1", mask("Trees"), facts={"lon": -179.0}),
    ]
    dataset = make_dataset(tmp_path, {"corpus": patches, "val": random_patches(2, "v", 1)})
    runs = FakeRuns(dataset.root, {"clip": "embedding"})
    (tmp_path / "box.geojson").write_text(
        '{"type": "Polygon", "coordinates": [[[8,44],[9.5,44],[9.5,46],[8,46],[8,44]]]}'
    )

    def found(**given: object) -> set[str]:
        result = search(dataset.root, "water", filters=Filters(**given), open_run=runs)  # type: ignore[arg-type]
        assert result.gallery == len(result.rows)
        return {hit.patch_id[0] for hit in result.rows}

    assert found() == {"a", "b", "c"}
    assert found(sensor="s2") == {"a", "b"}
    assert found(start=day.date()) == {"b"}
    assert found(end=START.date()) == {"a", "c"}
    assert found(start=START.date(), end=day.date()) == {"a", "b", "c"}
    assert found(start=dt.date.min, end=dt.date.max) == {"a", "b", "c"}
    assert found(end=dt.date.max) == {"a", "b", "c"}
    assert found(area="8,44,9.5,46") == {"a"}
    assert found(area=str(tmp_path / "box.geojson")) == {"a"}
    assert found(area="170,40,-170,50") == {"c"}
    for event in ("flood", "F1", "flood:F1"):
        assert found(event=event) == {"a"}
    assert found(split="val") == {"v"}
    assert found(split="all") == {"a", "b", "c", "v"}
    for wrong, message in (
        ({"event": "F2"}, "--event F2 removed all of the 3 patches"),
        ({"sensor": "s2", "start": day.date(), "event": "F1"}, r"--event F1 removed all of the 1"),
        ({"area": "0,0,1,1"}, "--area 0,0,1,1 removed all"),
        ({"area": "1,0,0,1"}, r"--area 1,0,0,1: bbox must be"),
        ({"area": "nowhere.geojson"}, "is no file, nor west,south,east,north"),
        ({"start": day.date(), "end": START.date()}, "lies after --to"),
    ):
        with pytest.raises(InputError, match=message):
            found(**wrong)
