"""Labels of a sandbox dataset: each word derived, each source answerable, always the same bytes."""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import rasterio
from rasterio.transform import Affine
from rasterio.warp import Resampling, reproject

from harmonize.explaining import explain
from harmonize.labelling import (
    LabelConfig,
    Labels,
    frames_of,
    label_patches,
    open_config,
    read_patches,
)
from harmonize.merging import deciders
from landmark.dataset import Dataset
from landmark.grid import Frame
from landmark.manifest_file import load_manifest
from landmark.rasters import class_counts, codes_on_frame
from landmark.sources import open_roots
from landmark.taxonomy import CLASSES, CRISIS, EVENT_CLASSES, bit
from tests.commands import command, run

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def labelled(
    small_sandbox: Path, small_manifest: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    root = tmp_path_factory.mktemp("derivation") / "data"
    shutil.copytree(small_sandbox, root / "cache" / "sandbox")
    run("fetch", small_manifest, "--out", root, "--limit", "80", "--quiet")
    run("harmonize", root, "--quiet")
    return root


def test_every_word_of_fifty_captions_is_derived(labelled: Path) -> None:
    columns = ["patch_id", "caption", "caption_long"]
    rows = pq.read_table(labelled / "shards" / "index.parquet", columns=columns).to_pylist()
    crisis_words = 0
    for row in random.Random(0).sample(rows, 50):
        found = explain(labelled, row["patch_id"])
        assert found.notes == ()
        assert ". ".join(word for word, _ in found.words) == row["caption"] == found.caption
        assert "".join(text for text, _ in found.sentence) == row["caption_long"]
        names = {source.source for source in found.sources}
        events = {event["id"] for event in found.events}
        for word, why in found.words:
            sums = re.search(r" = ([\d.e-]+) % >= ([\d.e-]+) %", why)
            if sums is not None:
                assert why.split(":")[0] in names
                assert float(sums[1]) >= float(sums[2]) - 1e-9
                terms = re.findall(r"([\d.e-]+) % x ([\d.]+)", why)
                total = sum(float(share) * float(weight) for share, weight in terms)
                assert total == pytest.approx(float(sums[1]), rel=0.02)
            else:
                assert word in {name.lower() for name in CRISIS}
                assert any(event in why for event in events)
                crisis_words += 1
        joints = re.compile(r"A |taken|in|shows|with|and|is|are|present|[,;. ]|")
        assert all(why or joints.match(text.strip()) for text, why in found.sentence)
    assert crisis_words


def relabel(root: Path, change: str | int | None) -> tuple[list[str], Labels, LabelConfig]:
    """Label all patches again without the source at a position, or one type of event."""
    dataset = Dataset(root)
    manifest = load_manifest(str(dataset.manifest))
    config = open_config(manifest, open_roots(manifest, dataset))
    if isinstance(change, int):
        kept = config.sources[:change] + config.sources[change + 1 :]
        config = replace(config, sources=kept)
    elif change is not None:
        config = replace(config, events=tuple(e for e in config.events if e.type != change))
    patches = [read_patches(path, config) for path in sorted(dataset.patches.glob("*.parquet"))]
    joined = pa.concat_tables([part.replace_schema_metadata(None) for part in patches])
    names = joined["patch_id"].to_pylist()
    nothing = [None] * len(names)
    return names, label_patches(joined, config, nothing, nothing), config


def test_removing_a_source_changes_what_it_explained(labelled: Path) -> None:
    _, whole, config = relabel(labelled, None)
    rules = config.rules
    taken = deciders(whole.evidences, whole.classes, rules.min_covered, rules.merge)
    for position in range(len(config.sources)):
        _, less, _ = relabel(labelled, position)
        mine = np.zeros(len(taken), np.uint16)
        for k, name in enumerate(CLASSES):
            mine |= np.where(taken[:, k] == position, bit(name), 0).astype(np.uint16)
        for field in ("label_mask", "known_mask"):
            changed = getattr(whole.classes, field) ^ getattr(less.classes, field)
            assert not (changed & ~mine).any()
        kept = ~((mine[:, None] >> np.arange(12)) & 1).astype(bool)
        np.testing.assert_array_equal(whole.classes.fractions[kept], less.classes.fractions[kept])
        # Where another source steps in, it says what it said all along.
        others = [e for k, e in enumerate(whole.evidences) if k != position]
        assert [e.source for e in less.evidences] == [e.source for e in others]
    first = taken[:, :9] == 0
    assert first.any()


@pytest.mark.parametrize("kind", sorted(EVENT_CLASSES))
def test_removing_events_changes_their_class_alone(labelled: Path, kind: str) -> None:
    names, whole, _ = relabel(labelled, None)
    _, less, _ = relabel(labelled, kind)
    own = bit(EVENT_CLASSES[kind])
    changed = (whole.classes.label_mask ^ less.classes.label_mask) | (
        whole.classes.known_mask ^ less.classes.known_mask
    )
    assert not (changed & ~np.uint16(own)).any()
    touched = {
        name
        for name, own_touches in zip(names, whole.touches, strict=True)
        if any(touch.event.type == kind for touch in own_touches)
    }
    assert {n for n, c in zip(names, changed, strict=True) if c} <= touched
    present = whole.classes.label_mask & own
    assert (changed[present > 0] == own).all()


def label_bytes(root: Path) -> dict[str, bytes]:
    shards = root / "shards"
    files = [*root.glob("labels/*"), shards / "index.parquet", shards / "queries.jsonl"]
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(files)}


def test_labels_and_captions_are_the_same_bytes_however_made(
    labelled: Path, tmp_path: Path
) -> None:
    def made(name: str, seed: str, *steps: list[str]) -> dict[str, bytes]:
        root = tmp_path / name
        shutil.copytree(labelled, root)
        for folder in ("labels", "shards"):
            shutil.rmtree(root / folder)
        env = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parents[2])}
        for step in steps:
            done = command("harmonize", root, "--labels-only", "--quiet", *step)
            subprocess.run(done, check=True, env=env)
        return label_bytes(root)

    expected = made("a", "0", ["--workers", "1"])
    assert len(expected) > 10
    # Other hashes, more workers, and the shards in another order: the last parts first.
    assert made("b", "1", ["--workers", "4"]) == expected
    assert made("c", "77", *(["--part", f"{i}/3"] for i in (3, 1, 2)), []) == expected


def test_exact_is_reproject_on_both_hemispheres_of_the_sandbox(
    small_sandbox: Path, labelled: Path
) -> None:
    corine = small_sandbox / "labels" / "corine.tif"
    dataset = Dataset(labelled)
    frames: dict[int, list[Frame]] = {}
    for path in sorted(dataset.patches.glob("s2-*.parquet")):
        for frame in frames_of(pq.read_table(path, columns=["patch_id", "epsg", "transform"])):
            frames.setdefault(frame.epsg, []).append(frame)
    assert set(frames) == {32632, 32736}
    with rasterio.open(corine) as raster:
        codes, transform, crs, nodata = raster.read(1), raster.transform, raster.crs, raster.nodata
    for own in frames.values():
        chosen = own[::3][:8]
        bulk = class_counts([corine], chosen)
        for row, frame in enumerate(chosen):
            expected = np.full((120, 120), 255, codes.dtype)
            reproject(codes, expected, src_transform=transform, src_crs=crs, src_nodata=nodata,
                      dst_transform=Affine(*frame.transform()), dst_crs=f"EPSG:{frame.epsg}",
                      dst_nodata=255, resampling=Resampling.nearest, tolerance=0)  # fmt: skip
            found, covered = codes_on_frame([corine], frame, exact=True)
            np.testing.assert_array_equal(np.where(covered, found, 255), expected)
            want = [int((expected == code).sum()) for code in bulk.codes]
            assert np.abs(bulk.counts[row] - want).sum() / 2 <= 3
