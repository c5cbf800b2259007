"""HDF5 archives inside tar and zip files: in place where they are stored, else unpacked once."""

from __future__ import annotations

import io
import os
import shutil
import socket
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmonize.pipeline import harmonize
from landmark import hdf5
from landmark.archive_settings import Archive
from landmark.archives.containers import open_container, open_path
from landmark.dataset import Dataset
from landmark.dataset import open as open_dataset
from landmark.errors import InputError
from landmark.fetching import FetchOptions, fetch
from landmark.manifest import LabelSource, Manifest, Sentinel1, Sentinel2, Splits
from landmark.progress import Silent
from landmark.subfiles import SubFile, subfile_path
from tests.landmark.archives.made import make_cabuar, make_crisislandmark, make_quakeset
from tests.landmark.archives.reading import NOMINAL
from tests.landmark.archives.test_containers import pack_tar
from tests.landmark.archives.test_crisislandmark import images
from tests.landmark.archives.test_fetching_archives import PUBLISHED, manifest


class Told(Silent):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


def pack_zip(folder: Path, path: Path, kind: int) -> Path:
    with zipfile.ZipFile(path, "w", kind) as file:
        for member in sorted(folder.rglob("*")):
            if member.is_file():
                file.write(member, f"outer/{member.relative_to(folder)}")
    return path


def make(kind: str, folder: Path) -> tuple[Archive, dict[str, Any]]:
    """Write a small archive; return what a manifest says of it."""
    options: dict[str, Any] = {"labels": (LabelSource(kind="archive"),)}
    if kind == "crisislandmark":
        make_crisislandmark(folder, images())
        return Archive(format="crisislandmark", href=str(folder)), dict(PUBLISHED)
    if kind == "cabuar":
        make_cabuar(folder / "512x512.hdf5", a_0={}, b_1={"fold": 0})
        own = Archive(format="cabuar", href=str(folder), **NOMINAL)
        return own, {
            **options,
            "s2": Sentinel2(bands=("B05", "B12")),
            "splits": Splits(method="source"),
        }
    make_quakeset(folder / "earthquakes.h5")
    own = Archive(format="quakeset", href=str(folder), nominal_date="2020-01-01")  # type: ignore[arg-type]
    return own, {**options, "s1": Sentinel1(), "splits": Splits(method="source")}


def build(asked: Manifest, root: Path, workers: int = 2) -> tuple[Dataset, list[str]]:
    told = Told()
    fetch(asked, root, FetchOptions(workers=workers), told)
    harmonize(root, workers=1, progress=told)
    return Dataset(root), told.notes


@dataclass(frozen=True)
class Loose:
    """An archive in a folder, and the dataset made of it."""

    folder: Path
    archive: Archive
    options: dict[str, Any]
    dataset: Dataset


@pytest.fixture(scope="module", params=["cabuar", "quakeset", "crisislandmark"])
def loose(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Loose:
    base = tmp_path_factory.mktemp("loose")
    own, options = make(request.param, base / "#1 folder")
    return Loose(
        base / "#1 folder", own, options, build(manifest(own, **options), base / "data")[0]
    )


@pytest.mark.integration
@pytest.mark.parametrize("form", ["tar", "stored", "deflated"])
def test_packed_and_loose_archives_give_equal_datasets(
    tmp_path: Path, loose: Loose, form: str
) -> None:
    if form == "tar":
        packed = pack_tar(loose.folder, tmp_path / "a.tar", "outer/")
    else:
        method = zipfile.ZIP_STORED if form == "stored" else zipfile.ZIP_DEFLATED
        packed = pack_zip(loose.folder, tmp_path / "a.zip", method)
    moved = loose.archive.model_copy(update={"href": str(packed)})
    dataset, notes = build(manifest(moved, **loose.options), tmp_path / "b")
    with open_dataset(loose.dataset.root) as one, open_dataset(dataset.root) as other:
        assert set(one) == set(other)
        for name in one:
            assert np.array_equal(one.image(name), other.image(name), equal_nan=True)
            left, right = one.row(name), other.row(name)
            for column in ("label_mask", "known_mask", "native_labels", "split", "datetime"):
                assert left[column] == right[column]
            np.testing.assert_array_equal(left["fractions"], right["fractions"])
            assert ("#at=" in right["provenance"]["hrefs"][0]) == (form != "deflated")
    unpacked = dataset.cache / "archives"
    told = [note for note in notes if "compressed, which cannot be read in place" in note]
    if form == "deflated":
        assert len(told) == 1  # once, not again by harmonize
        (folder,) = unpacked.iterdir()
        assert ".part" not in folder.name
    else:
        assert not told
        assert not unpacked.exists()


def test_what_a_killed_unpacking_left_goes(tmp_path: Path) -> None:
    own, options = make("quakeset", tmp_path / "q")
    packed = pack_zip(tmp_path / "q", tmp_path / "q.zip", zipfile.ZIP_DEFLATED)
    moved = own.model_copy(update={"href": str(packed)})
    dataset, _ = build(manifest(moved, **options), tmp_path / "d")
    (folder,) = (dataset.cache / "archives").iterdir()
    assert folder.stat().st_mode & 0o777 == 0o755
    shutil.rmtree(folder)
    host = socket.gethostname()
    dead = folder.with_name(f"{folder.name}.part-{host}-4194305-x")  # above the largest pid
    alive = folder.with_name(f"{folder.name}.part-{host}-{os.getppid()}-x")
    for part in (dead, alive):
        part.mkdir()
    fetch(manifest(moved, **options), tmp_path / "e", FetchOptions(), Silent())
    again = tmp_path / "e" / "cache" / "archives"
    for part in (dead, alive):
        (again / part.name).mkdir()
    shutil.rmtree(again / folder.name)
    fetch(manifest(moved, **options), tmp_path / "e", FetchOptions(), Silent())
    assert {path.name for path in again.iterdir()} == {folder.name, alive.name}


def test_a_damaged_member_of_a_zip_leaves_nothing_unpacked(tmp_path: Path) -> None:
    own, options = make("quakeset", tmp_path / "q")
    packed = pack_zip(tmp_path / "q", tmp_path / "q.zip", zipfile.ZIP_DEFLATED)
    data = bytearray(packed.read_bytes())
    data[len(data) // 2] ^= 0xFF
    packed.write_bytes(data)
    moved = own.model_copy(update={"href": str(packed)})
    with pytest.raises(InputError, match=r"earthquakes\.h5 cannot be unpacked"):
        fetch(manifest(moved, **options), tmp_path / "d", FetchOptions(), Silent())
    assert not [path for path in (tmp_path / "d").rglob("*") if path.is_file()]


def test_a_full_disk_is_told_of_before_anything_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, options = make("quakeset", tmp_path / "q")
    packed = pack_zip(tmp_path / "q", tmp_path / "q.zip", zipfile.ZIP_DEFLATED)
    moved = own.model_copy(update={"href": str(packed)})
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr("landmark.archives.unpacking.shutil.disk_usage", lambda path: usage)
    with pytest.raises(InputError, match="unpack it elsewhere and name that folder"):
        fetch(manifest(moved, **options), tmp_path / "d", FetchOptions(), Silent())
    assert not (tmp_path / "d").exists()


def test_a_compressed_member_is_never_opened_in_place(tmp_path: Path) -> None:
    make("quakeset", tmp_path / "q")
    packed = pack_zip(tmp_path / "q", tmp_path / "q.zip", zipfile.ZIP_DEFLATED)
    with pytest.raises(InputError, match="is an HDF5 file compressed inside the zip"):
        open_container(packed).href("earthquakes.h5")
    with pytest.raises(InputError, match=r"holds no outer/earthquakes\.h5"):
        open_path(str(packed), "outer/earthquakes.h5#611645479/patch_0/pre")


def test_a_tar_cut_off_after_the_plan_makes_holes_that_name_the_member(tmp_path: Path) -> None:
    own, options = make("quakeset", tmp_path / "q")
    packed = pack_tar(tmp_path / "q", tmp_path / "q.tar")
    asked = manifest(own.model_copy(update={"href": str(packed)}), **options)
    fetch(asked, tmp_path / "d", FetchOptions(plan_only=True), Silent())
    with packed.open("r+b") as file:
        file.truncate(packed.stat().st_size // 2)
    summary = fetch(asked, tmp_path / "d", FetchOptions(max_failed="100%"), Silent())
    assert summary.patches == 0
    causes = set(pq.read_table(Dataset(tmp_path / "d").failures)["cause"].to_pylist())
    assert causes == {
        "quakeset/earthquakes.h5: is no whole HDF5 file (the file that holds it is cut off)",
    }


def test_paths_with_a_hash_in_a_folder_name_are_taken_apart_right() -> None:
    assert hdf5.split_path("/a#1/x.h5#g/d?flip") == ("/a#1/x.h5", "g/d?flip")
    assert hdf5.split_path("/a#1/x.tif") == ("/a#1/x.tif", "")
    inside = subfile_path("/a#1/x.TAR", 512, 9)
    assert hdf5.split_path(f"{inside}#g/a.h5#d") == (inside, "g/a.h5#d")
    assert not hdf5.is_hdf5(inside)


@given(st.data())
def test_a_part_of_a_file_reads_as_a_file_of_its_own(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "numbers.bin"
    whole = bytes(range(256)) * 3
    if not path.exists():
        path.write_bytes(whole)
    start = data.draw(st.integers(0, 700))
    size = data.draw(st.integers(0, len(whole) - start))
    oracle = io.BytesIO(whole[start : start + size])
    with SubFile(subfile_path(str(path), start, size)) as part:
        for _ in range(data.draw(st.integers(1, 8))):
            place, count = data.draw(st.integers(0, 900)), data.draw(st.integers(0, 900))
            whence = data.draw(st.sampled_from([os.SEEK_SET, os.SEEK_END]))
            offset = place if whence == os.SEEK_SET else -min(place, size)
            assert part.seek(offset, whence) == oracle.seek(offset, whence)
            assert part.read(count) == oracle.read(count)
            assert part.tell() == oracle.tell()


def test_a_part_that_ends_early_raises(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"0123456789")
    with pytest.raises(OSError, match="cut off"):
        SubFile(subfile_path(str(path), 5, 6))
    with SubFile(subfile_path(str(path), 2, 8)) as part:
        with path.open("r+b") as file:
            file.truncate(4)
        with pytest.raises(OSError, match="ends inside"):
            part.read(8)
    with (
        pytest.raises(InputError, match="is no whole HDF5 file"),
        hdf5.open_file(subfile_path(str(path), 0, 4)),
    ):
        pass
