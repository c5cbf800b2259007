from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from harmonize import pipeline
from harmonize.pipeline import harmonize
from harmonize.reporting import choose_patches, sections
from landmark.commits import mark_path
from landmark.dataset import Dataset
from landmark.errors import InputError, LandmarkError
from landmark.loose_files import SEAL, broken
from landmark.manifest_file import dump_manifest
from landmark.pages import Cards, Figure, Paragraph, Table
from landmark.progress import Silent
from tests.commands import contents, leftovers
from tests.harmonize.datasets import manifest, square, write

pytestmark = pytest.mark.integration

PATCHES = square(12)


@dataclass(frozen=True)
class Labelled:
    """A task of step 1: the labels of these datasets are written already."""

    shard: str


@pytest.fixture(autouse=True)
def _labels_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def plan_labelling(dataset: Dataset, *_: Any) -> list[Labelled]:
        return [Labelled(path.stem) for path in sorted(dataset.patches.glob("*.parquet"))]

    monkeypatch.setattr(pipeline, "plan_labelling", plan_labelling)
    monkeypatch.setattr(pipeline, "label_shard", lambda task: None)
    monkeypatch.setattr(pipeline, "open_roots", lambda *_: None)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Dataset]:
    import shutil

    first = write(tmp_path_factory.mktemp("source") / "data", PATCHES, manifest()).root

    def copy(root: Path) -> Dataset:
        shutil.copytree(first, root)
        return Dataset(root)

    return copy


@pytest.fixture
def fetched(source: Callable[[Path], Dataset], tmp_path: Path) -> Dataset:
    return source(tmp_path / "data")


def run(dataset: Dataset, **options: Any) -> dict[str, Any]:
    return harmonize(dataset.root, progress=Silent(), **options).to_dict()


def test_all_files_are_there_and_sealed(fetched: Dataset) -> None:
    summary = run(fetched)
    names = {p.relative_to(fetched.shards).as_posix() for p in fetched.shards.rglob("*.*")}
    loose = {name for name in names if not name.startswith(("s1/", "s2/"))}
    assert loose == {
        *(
            "README.md",
            "index.json",
            "index.parquet",
            "queries.jsonl",
            "query_counts.tsv",
            "croissant.json",
            "collection.json",
        ),
        *("qrels/binary.tsv", "qrels/graded.tsv"),
    }
    assert broken(fetched.shards) == []
    assert summary["patches"] == summary["labelled"] == 288
    kept = sum(n for splits in summary["splits"].values() for n in splits.values())
    assert kept + sum(summary["dropped"].values()) == 288
    assert summary["queries"] > 10
    assert summary["shards"] == len(list(fetched.shards.glob("s?/*.parquet"))) > 6
    assert summary["shards_skipped"] == 0
    assert leftovers(fetched.root) == []


def test_again_does_nothing(fetched: Dataset) -> None:
    first = run(fetched)
    before = {path: path.stat().st_mtime_ns for path in fetched.shards.rglob("*")}
    again = run(fetched)
    assert again["shards"] == 0
    assert again["shards_skipped"] == first["shards"]
    assert {path: path.stat().st_mtime_ns for path in fetched.shards.rglob("*")} == before
    same = ("patches", "labelled", "splits", "dropped", "queries", "warnings")
    assert {k: again[k] for k in same} == {k: first[k] for k in same}


def test_workers_and_places_do_not_matter(
    fetched: Dataset, source: Callable[[Path], Dataset], tmp_path: Path
) -> None:
    other = source(tmp_path / "elsewhere" / "set")
    run(fetched, workers=1)
    run(other, workers=3)
    assert contents(fetched.root) == contents(other.root)


def test_labels_only_then_all_equals_all_at_once(
    fetched: Dataset, source: Callable[[Path], Dataset], tmp_path: Path
) -> None:
    summary = run(fetched, labels_only=True)
    assert (summary["shards"], summary["shards_skipped"]) == (0, 0)
    assert not list(fetched.shards.glob("s?"))
    assert set(pq.read_table(fetched.index)["shard_file"].to_pylist()) == {""}
    assert broken(fetched.shards) == []
    run(fetched)
    other = source(tmp_path / "other")
    run(other)
    assert contents(fetched.root) == contents(other.root)
    # Shards that still fit are kept, and the index goes on naming them.
    before = contents(fetched.root)
    assert run(fetched, labels_only=True)["shards_skipped"] > 0
    assert contents(fetched.root) == before


def test_changed_rules_leave_no_old_shard(fetched: Dataset) -> None:
    run(fetched)
    old = {path.name for path in fetched.shards.glob("s?/*.parquet")}
    changed = manifest(shards={"rows": 25}, queries={"qrels": "auto", "min_relevant": 500})
    fetched.manifest.write_text(dump_manifest(changed))
    summary = run(fetched)
    assert summary["queries"] == 0
    assert any("no queries" in line for line in summary["warnings"])
    new = {path.name for path in fetched.shards.glob("s?/*.parquet")}
    numbered = set(filter(None, pq.read_table(fetched.index)["shard_file"].to_pylist()))
    assert new == {Path(name).name for name in numbered}
    assert new != old
    assert broken(fetched.shards) == []


def test_killed_between_shards_goes_on(
    fetched: Dataset,
    source: Callable[[Path], Dataset],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done = []

    def dies(task: Any) -> int:
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(task)
        return assemble(task)

    assemble = pipeline.assemble_shard
    with monkeypatch.context() as patched:
        patched.setattr(pipeline, "assemble_shard", dies)
        with pytest.raises((KeyboardInterrupt, LandmarkError)):
            run(fetched, workers=1)
    assert not (fetched.shards / SEAL).exists()
    assert [found.file for found in broken(fetched.shards)] == [SEAL]
    summary = run(fetched)
    assert summary["shards_skipped"] == 2
    other = source(tmp_path / "undisturbed")
    run(other)
    assert contents(fetched.root) == contents(other.root)


def test_a_damaged_loose_file_is_mended(fetched: Dataset) -> None:
    run(fetched)
    before = contents(fetched.root)
    for name in ("README.md", "qrels/graded.tsv", SEAL, "index.parquet"):
        path = fetched.shards / name
        path.write_bytes(path.read_bytes()[:-3] + b"xyz")
        assert broken(fetched.shards)
        run(fetched)
        assert contents(fetched.root) == before


def test_a_part_labels_only_its_shards(fetched: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    labelled: list[str] = []
    monkeypatch.setattr(pipeline, "label_shard", lambda task: labelled.append(task.shard))
    patches = 0
    for number in (1, 2, 3):
        patches += run(fetched, part=(number, 3), workers=1)["patches"]
    names = sorted(path.stem for path in fetched.patches.glob("*.parquet"))
    assert sorted(labelled) == names
    assert labelled[:2] == names[0::3][:2]
    assert patches == 288
    assert not fetched.shards.exists()


def test_labels_of_vanished_shards_are_removed(fetched: Dataset) -> None:
    stray = fetched.labels / "s1-00099.parquet"
    stray.write_bytes(b"old")
    mark_path(stray).write_text("{}")
    run(fetched)
    assert not stray.exists()
    assert not mark_path(stray).exists()


def test_a_failing_label_shard_ends_the_run(
    fetched: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(task: Labelled) -> None:
        raise ValueError("no such code")

    monkeypatch.setattr(pipeline, "label_shard", fails)
    with pytest.raises(LandmarkError, match=r"^s1-0000\d: ValueError: no such code"):
        run(fetched)
    assert not fetched.shards.exists()


def test_not_fetched_is_said(tmp_path: Path, fetched: Dataset) -> None:
    with pytest.raises(InputError, match="no such dataset directory"):
        run(Dataset(tmp_path / "nowhere"))
    mark_path(fetched.patch_shard("s2-00001")).unlink()
    fetched.patch_shard("s1-00000").unlink()
    with pytest.raises(InputError, match=r"2 of 6 patch shards are missing \(first: s1-00000\)"):
        run(fetched)
    assert not fetched.shards.exists()
    fetched.plan.unlink()
    with pytest.raises(InputError, match=r"holds no plan.parquet; run `landmark fetch"):
        run(fetched)


def test_report_sections(fetched: Dataset) -> None:
    (before,) = sections(fetched.root)
    assert isinstance(before.blocks[0], Paragraph)
    assert "run `landmark harmonize`" in before.blocks[0].text
    run(fetched)
    labels, queries, *sheets = sections(fetched.root)
    figures = [block for block in labels.blocks if isinstance(block, Figure)]
    assert len(figures) == 1
    assert figures[0].png.startswith(b"\x89PNG")
    again = [b for b in sections(fetched.root)[0].blocks if isinstance(b, Figure)]
    assert again == figures
    table = next(block for block in queries.blocks if isinstance(block, Table))
    single = next(row for row in table.rows if row[:2] == ("single", "water"))
    index = pq.read_table(fetched.index).to_pylist()
    for column, sensor in ((3, "s1"), (4, "s2")):
        water = [
            r
            for r in index
            if r["split"] == "corpus" and r["sensor"] == sensor and r["label_mask"] & 1
        ]
        assert single[column] == len(water)
    assert len(sheets) == 2
    for sheet in sheets:
        (cards,) = sheet.blocks
        assert isinstance(cards, Cards)
        assert len(cards.cards) == 15
        assert all(card.png.startswith(b"\x89PNG") for card in cards.cards)


def test_contact_sheet_shows_all_classes(fetched: Dataset) -> None:
    run(fetched)
    index = pq.read_table(fetched.index)
    rows = choose_patches(index, "s2", 15)
    assert len(set(rows)) == 15
    shown = present = 0
    for row in rows:
        shown |= index["label_mask"][row].as_py()
    for fact in index.to_pylist():
        if fact["split"] and fact["sensor"] == "s2":
            present |= fact["label_mask"]
    assert shown == present
