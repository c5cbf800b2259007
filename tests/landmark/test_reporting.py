from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
from PIL import Image

from landmark import history, reporting, split_map
from landmark.commits import CommitMark, Filtered, Hole, write_atomic, write_mark
from landmark.dataset import Dataset
from landmark.errors import InputError
from landmark.manifest_file import dump_manifest, load_manifest
from landmark.pages import Figure, Page, Paragraph, Section, Table, render


def plan_rows(count: int = 12) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for i in range(count):
        for sensor in ("s1", "s2"):
            lon, lat = 10 + 0.016 * (i % 4), 45 + 0.011 * (i // 4)
            epsg = 32632
            if i >= count - 2:
                lon, lat, epsg = 33.0 + 0.016 * (i % 4), -20.0, 32736
            rows.append(
                {
                    "patch_id": f"{epsg}_{i}_{sensor}",
                    "status": "duplicate" if (i, sensor) == (0, "s2") else "keep",
                    "sensor": sensor,
                    "frame": f"{epsg}_{i}",
                    "epsg": epsg,
                    "lon": lon,
                    "lat": lat,
                    "geometry": shapely.box(lon, lat, lon + 0.015, lat + 0.01).wkb,
                }
            )
    return rows


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    found = Dataset(tmp_path / "d")
    write_atomic(found.manifest, dump_manifest(load_manifest("demo")))
    pq.write_table(pa.Table.from_pylist(plan_rows()), found.plan)
    return found


def commit(dataset: Dataset, name: str, rows: int, filtered: int = 0, holes: int = 0) -> None:
    path = dataset.patch_shard(name)
    write_atomic(path, b"data")
    mark = CommitMark(
        rows=rows,
        nbytes=4,
        xxh3="0",
        fingerprint="f",
        versions={},
        filtered=tuple(Filtered(f"f{i}", "cloud", "") for i in range(filtered)),
        holes=tuple(Hole(f"h{i}", "read", "cannot open <x>", 3) for i in range(holes)),
        notes={},
    )
    write_mark(path, mark)


def section(parts: tuple[Section, ...], title: str) -> Section:
    return next(part for part in parts if part.title == title)


def test_counts_add_up_by_cause(dataset: Dataset) -> None:
    commit(dataset, "s1-00000", rows=8, filtered=1, holes=2)
    commit(dataset, "s2-00000", rows=11)
    blocks = section(reporting.sections(dataset.root), "Kept, left out, missing").blocks
    patches, left_out, holes = blocks
    assert isinstance(patches, Table)
    assert isinstance(left_out, Table)
    assert isinstance(holes, Table)
    assert patches.rows == (
        ("Sentinel-1", 12, 12, 8, 1, 2, 1),
        ("Sentinel-2", 12, 11, 11, 0, 0, 0),
    )
    assert left_out.rows == (("fetch", "cloud", 1, 0), ("plan", "duplicate", 0, 1))
    assert holes.rows == (("read", "cannot open <x>", 2, 0),)


def test_a_plan_without_patches_or_history_says_so(dataset: Dataset) -> None:
    parts = reporting.sections(dataset.root)
    counts = section(parts, "Kept, left out, missing").blocks
    assert isinstance(counts[0], Table)
    assert [row[-1] for row in counts[0].rows] == [12, 11]
    times = section(parts, "Run times").blocks[0]
    assert isinstance(times, Paragraph)
    assert "Not known" in times.text
    figure = section(parts, "Where the patches lie").blocks[0]
    assert isinstance(figure, Figure)
    assert "no splits yet" in figure.caption


def test_without_a_plan_the_section_names_the_command(dataset: Dataset) -> None:
    dataset.plan.unlink()
    block = section(reporting.sections(dataset.root), "Where the patches lie").blocks[0]
    assert isinstance(block, Paragraph)
    assert "landmark fetch" in block.text


def test_no_dataset_is_wrong_input(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such dataset directory"):
        reporting.heading(tmp_path / "none")
    with pytest.raises(InputError, match=r"holds no manifest\.yaml; run `landmark fetch`"):
        reporting.sections(tmp_path)


def test_the_map_shows_splits_in_their_colours(dataset: Dataset, tmp_path: Path) -> None:
    index = [
        {"patch_id": row["patch_id"], "split": ("train", "val", "corpus", "")[i // 2 % 4]}
        for i, row in enumerate(plan_rows())
    ]
    index.pop()  # a patch that was planned, but filtered, lies in no split
    dataset.shards.mkdir()
    pq.write_table(pa.Table.from_pylist(index), dataset.index)
    figure = section(reporting.sections(dataset.root), "Where the patches lie").blocks[0]
    assert isinstance(figure, Figure)
    assert "zone EPSG:32632: 2 dropped, 3 train, 3 val, 2 corpus" in figure.alt
    assert "zone EPSG:32736" in figure.alt
    (tmp_path / "map.png").write_bytes(figure.png)
    pixels = np.asarray(Image.open(tmp_path / "map.png").convert("RGB")).reshape(-1, 3)
    for name in ("train", "val", "corpus", "dropped"):
        colour = np.array(list(bytes.fromhex(split_map.COLOURS[name][1:])))
        assert (pixels == colour).all(axis=1).sum() > 200, name
    again = section(reporting.sections(dataset.root), "Where the patches lie").blocks[0]
    assert again == figure


def test_large_zones_are_thinned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(split_map, "_MAX_DRAWN", 3)
    rows = [row for row in plan_rows() if row["epsg"] == 32632]
    zone = split_map.ZonePatches.of(32632, pa.Table.from_pylist(rows), None)
    assert zone.corners.shape == (3, 4, 2)


def test_facts_hide_local_folders_and_name_synthetic_data(tmp_path: Path) -> None:
    facts = dict(reporting.asked(load_manifest("demo")))
    assert "synthetic" in facts["Scenes from"]
    assert facts["Events"] == "flood, fire, earthquake"
    (tmp_path / "m.yaml").write_text(
        "name: x\ncatalog: {kind: local, href: c.json}\ns2: {}\narea: {bbox: [1, 2, 3, 4]}\n"
    )
    facts = dict(reporting.asked(load_manifest(str(tmp_path / "m.yaml"))))
    assert facts["Scenes from"] == "local c.json"
    assert facts["Area"] == "1 to 3 east, 2 to 4 north"


def test_history_is_kept_and_damage_is_left_out(dataset: Dataset) -> None:
    started = dt.datetime(2024, 5, 6, 7, 8, 9, tzinfo=dt.UTC)
    history.record(dataset, "fetch", started, 12.345)
    with history.history_path(dataset).open("ab") as stream:
        stream.write(b'not json\n{"command": 1}\n\xff\n')
    history.record(dataset, "harmonize", started, 1)
    assert history.read(dataset) == (
        history.Entry("fetch", "2024-05-06T07:08:09Z", 12.35),
        history.Entry("harmonize", "2024-05-06T07:08:09Z", 1.0),
    )
    block = section(reporting.sections(dataset.root), "Run times").blocks[0]
    assert isinstance(block, Table)
    assert block.rows[0] == ("fetch", "2024-05-06T07:08:09Z", 12.3)


def test_a_dataset_that_cannot_be_written_keeps_no_history(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    history.record(Dataset(tmp_path), "fetch", dt.datetime.now(dt.UTC), 1)
    assert history.read(Dataset(tmp_path)) == ()


def test_the_sections_make_a_page(dataset: Dataset) -> None:
    title, subtitle = reporting.heading(dataset.root)
    html = render(Page(title, subtitle, reporting.sections(dataset.root)))
    assert "<h1>demo</h1>" in html
    assert "<dt>Splits</dt>" in html
    assert html.count("data:image/png") == 1
