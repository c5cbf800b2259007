"""What the labels of a shard depend on: the masks that archives ship, packed or not."""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path

from harmonize.shipping import file_sizes
from landmark.archives.containers import open_container, open_path


def sizes(archive: Path) -> list[tuple[str, int]]:
    """Return what is recorded of the archive's mask, by the path that is opened for it."""
    href = open_container(archive).href("a/mask.tif")
    return file_sizes([open_path(str(archive), href)])


def test_a_mended_mask_shows_wherever_it_lies(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    found: dict[str, list[list[tuple[str, int]]]] = {"folder": [], "tar": [], "zip": []}
    for length in (100, 130):
        (folder / "a").mkdir(parents=True, exist_ok=True)
        (folder / "a" / "mask.tif").write_bytes(bytes(length))
        (folder / "b.tif").write_bytes(b"x")
        with tarfile.open(tmp_path / "a.tar", "w") as tar:
            tar.add(folder, arcname=".")
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
            file.write(folder / "b.tif", "b.tif")
            file.write(folder / "a" / "mask.tif", "a/mask.tif")
        for name, path in (("folder", folder), ("tar", tmp_path / "a.tar")):
            found[name].append(sizes(path))
            assert found[name][-1][0][1] == length
        found["zip"].append(sizes(tmp_path / "a.zip"))
        assert found["zip"][-1] == [("mask.tif", (tmp_path / "a.zip").stat().st_size)]
    assert all(before != after for before, after in found.values())
    assert file_sizes([str(tmp_path / "none.tif")]) == [("none.tif", 0)]
