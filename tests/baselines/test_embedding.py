from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from baselines.documents import read_documents
from baselines.embedding import align, embed
from landmark.commits import damage, read_mark
from landmark.dataset import Dataset
from landmark.errors import InputError, LandmarkError
from landmark.schema import s2_layout
from tests.baselines.tiny_dataset import FakeRuns, make_dataset, mask, random_patches


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    patches = random_patches(10, "c", seed=1)
    return make_dataset(tmp_path / "data", {"corpus": patches, "train": patches[:2]}, rows=4)


def files_of(root: Path) -> list[str]:
    return sorted(path.name for path in (root / "runs/clip/embeddings").iterdir())


def test_embeds_every_patch_in_shard_order_and_commits(dataset: Dataset) -> None:
    runs = FakeRuns(dataset.root, {"clip": "embedding"})
    files = embed(dataset.root, runs(dataset.root, "clip"))
    assert [file.sensor for file in files] == ["s1", "s2"]
    assert files_of(dataset.root) == [
        "s1-corpus.json", "s1-corpus.parquet", "s2-corpus.json", "s2-corpus.parquet",
    ]  # fmt: skip
    assert all(damage(file.path) is None for file in files)
    documents = read_documents(dataset, "corpus")
    vectors = align(files, documents)
    assert vectors.dtype == np.float32
    for labels, vector in zip(documents.label_masks, vectors, strict=True):
        carried = [bool(int(labels) >> position & 1) for position in range(12)]
        assert (vector[:12] > 0.1).tolist() == carried


def test_class_models_leave_probabilities(dataset: Dataset) -> None:
    runs = FakeRuns(dataset.root, {"clip": "classes"})
    documents = read_documents(dataset, "corpus")
    vectors = align(embed(dataset.root, runs(dataset.root, "clip")), documents)
    assert vectors.shape == (20, 12)
    sure = 1 / (1 + np.exp(-3))
    bits = (documents.label_masks[:, None] >> np.arange(12) & 1).astype(bool)
    np.testing.assert_allclose(vectors, np.where(bits, sure, 1 - sure), rtol=1e-6)


def test_is_made_once_and_again_when_weights_or_shards_change(dataset: Dataset) -> None:
    runs = FakeRuns(dataset.root, {"clip": "embedding"})
    run = runs(dataset.root, "clip")
    first = embed(dataset.root, run, sensors=("s2",))[0]
    before, calls = np.concatenate(list(first.vectors())), run.model.calls
    assert embed(dataset.root, run, sensors=("s2",)) == (first,)
    assert run.model.calls == calls
    (dataset.root / "runs/clip/model.safetensors").write_bytes(b"other weights")
    embed(dataset.root, run, sensors=("s2",))
    assert run.model.calls == 2 * calls
    np.testing.assert_array_equal(np.concatenate(list(first.vectors())), before)
    make_dataset(dataset.root, {"corpus": random_patches(10, "c", seed=2)}, rows=4)
    embed(dataset.root, run, sensors=("s2",))
    assert run.model.calls == 3 * calls
    assert not np.array_equal(np.concatenate(list(first.vectors())), before)


def test_only_pixels_the_model_has_not_seen_are_embedded(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = FakeRuns(dataset.root, {"clip": "embedding"})
    run = runs(dataset.root, "clip")
    whole, asked = run.model.encode_images, []

    def counting(sensor: str, batch: np.ndarray) -> np.ndarray:
        asked.append(len(batch))
        return whole(sensor, batch)

    monkeypatch.setattr(run.model, "encode_images", counting)
    patches = [p for p in random_patches(10, "c", seed=1) if p.sensor == "s2"]
    embed(dataset.root, run, sensors=("s2",))
    assert sum(asked) == 10
    asked.clear()
    # Other labels and order, the same pixels: the shards change, the model is not asked.
    relabelled = [replace(p, label_mask=mask("Water"), marker=p.label_mask) for p in patches]
    make_dataset(dataset.root, {"corpus": relabelled[::-1]}, rows=4)
    (file,) = embed(dataset.root, run, sensors=("s2",))
    assert asked == []
    fresh = [p for p in random_patches(2, "n", seed=5) if p.sensor == "s2"]
    changed = replace(patches[0], marker=mask("Built"))
    make_dataset(dataset.root, {"corpus": [changed, *patches[1:], *fresh]}, rows=4)
    (file,) = embed(dataset.root, run, sensors=("s2",))
    assert sum(asked) == 3
    ids, vectors = file.patch_ids().to_pylist(), np.concatenate(list(file.vectors()))
    expected = {p.patch_id: p.label_mask for p in [*patches[1:], *fresh]}
    expected[changed.patch_id] = mask("Built")
    for patch_id, vector in zip(ids, vectors, strict=True):
        bits = [bool(expected[patch_id] >> place & 1) for place in range(12)]
        assert (vector[:12] > 0.1).tolist() == bits


def test_a_patch_that_changes_its_split_keeps_its_vector(dataset: Dataset) -> None:
    runs = FakeRuns(dataset.root, {"clip": "embedding"})
    run = runs(dataset.root, "clip")
    embed(dataset.root, run, sensors=("s2",))
    calls = run.model.calls
    embed(dataset.root, run, "train", sensors=("s2",))  # the same patches as in corpus
    assert run.model.calls == calls


def test_a_killed_write_leaves_nothing_that_counts(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = FakeRuns(dataset.root, {"clip": "embedding"})
    run = runs(dataset.root, "clip")
    whole = run.model.encode_images

    def fail_later(sensor: str, batch: np.ndarray) -> np.ndarray:
        if run.model.calls:
            raise RuntimeError("killed")
        return whole(sensor, batch)

    monkeypatch.setattr(run.model, "encode_images", fail_later)
    with pytest.raises(RuntimeError, match="killed"):
        embed(dataset.root, run)
    assert files_of(dataset.root) == []


def test_other_bands_than_the_model_s_are_refused(dataset: Dataset) -> None:
    runs = FakeRuns(dataset.root, {"clip": "embedding"})
    run = runs(dataset.root, "clip")
    run.bands["s2"] = s2_layout(("B02", "B03", "B04", "B8A")).bands
    with pytest.raises(InputError, match=r"holds bands B02, B03, B04, B08.*trained on.*B8A"):
        embed(dataset.root, run)


def test_an_uncommitted_shard_is_refused(dataset: Dataset) -> None:
    runs = FakeRuns(dataset.root, {"clip": "embedding"})
    dataset.split_shards("s1", "corpus")[0].with_suffix(".json").unlink()
    with pytest.raises(InputError, match="not committed"):
        embed(dataset.root, runs(dataset.root, "clip"))


def test_a_flipped_byte_is_found_when_read(dataset: Dataset) -> None:
    runs = FakeRuns(dataset.root, {"clip": "embedding"})
    file = embed(dataset.root, runs(dataset.root, "clip"), sensors=("s2",))[0]
    documents = read_documents(dataset, "corpus").of_sensor("s2")
    data = bytearray(file.path.read_bytes())
    place = data.index(align([file], documents)[0].tobytes())
    data[place] ^= 1
    file.path.write_bytes(data)
    with pytest.raises(LandmarkError, match="is damaged"):
        align([file], documents)


def test_embeddings_of_other_patches_are_refused(dataset: Dataset) -> None:
    runs = FakeRuns(dataset.root, {"clip": "embedding"})
    files = embed(dataset.root, runs(dataset.root, "clip"))
    with pytest.raises(LandmarkError, match="different patches"):
        align(files[:1], read_documents(dataset, "corpus"))


def test_a_sensor_without_shards_is_left_out(tmp_path: Path) -> None:
    patches = [p for p in random_patches(4, "c", seed=1) if p.sensor == "s1"]
    dataset = make_dataset(tmp_path, {"corpus": patches})
    runs = FakeRuns(dataset.root, {"clip": "embedding"})
    files = embed(dataset.root, runs(dataset.root, "clip"))
    assert [file.sensor for file in files] == ["s1"]
    mark = read_mark(files[0].path)
    assert mark is not None
    assert mark.rows == 4
    assert mask("Water") == 1
