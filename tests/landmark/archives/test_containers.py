from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st

from landmark.archives.containers import open_container, open_path
from landmark.errors import InputError
from tests.landmark.archives.made import power, write_tif
from tests.landmark.archives.reading import read_images
from tests.landmark.archives.test_reben import (
    RGBN,
    archive,
    manifest,
)

__all__ = ["archive"]


def pack_zip(folder: Path, path: Path, under: str = "") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for member in sorted(folder.rglob("*")):
            if member.is_file():
                file.write(member, f"{under}{member.relative_to(folder)}")
    return path


def pack_tar(folder: Path, path: Path, under: str = "") -> Path:
    with tarfile.open(path, "w") as file:
        for member in sorted(folder.rglob("*")):
            if member.is_file():
                file.add(member, f"{under}{member.relative_to(folder)}")
    return path


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize("under", ["", "outer/inner/"])
def test_packed_archives_are_read_in_place(
    archive: Path,
    tmp_path_factory: pytest.TempPathFactory,
    kind: str,
    under: str,
) -> None:
    away = tmp_path_factory.mktemp("packed")
    pack = pack_zip if kind == "zip" else pack_tar
    packed = pack(archive, away / f"a.{kind}", under)
    loose = read_images("reben", archive, manifest(archive))
    found = read_images("reben", packed, manifest(archive))
    assert [image.frame for image in found] == [image.frame for image in loose]
    for one, other in zip(found, loose, strict=True):
        for ours, theirs in zip(one.scene.bands, other.scene.bands, strict=True):
            with (
                rasterio.open(open_path(str(packed), ours.href)) as a,
                rasterio.open(archive / theirs.href) as b,
            ):
                assert (a.read() == b.read()).all()
    assert len(loose[1].scene.bands) == len(RGBN)


def test_a_member_that_is_missing_is_an_error_when_it_is_opened(tmp_path: Path) -> None:
    write_tif(tmp_path / "f" / "a.tif", power(1, 4, 4))
    packed = pack_tar(tmp_path / "f", tmp_path / "a.tar")
    with pytest.raises(InputError, match=r"holds no b\.tif"):
        open_path(str(packed), open_container(packed).href("b.tif"))


@pytest.mark.parametrize("name", ["../evil.tif", "/etc/passwd", "a/../../b", "..\\evil"])
def test_a_zip_or_tar_that_would_leave_its_folder_is_refused(tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("metadata.parquet", b"x")
        file.writestr(name, b"x")
    with tarfile.open(tmp_path / "a.tar", "w") as file:
        info = tarfile.TarInfo(name)
        info.size = 1
        file.addfile(info, io.BytesIO(b"x"))
    for path in (tmp_path / "a.zip", tmp_path / "a.tar"):
        with pytest.raises(InputError, match="would leave the archive"):
            open_container(path).names()


@given(st.text(max_size=30), st.text(max_size=30))
def test_no_href_opens_anything_outside(start: str, end: str) -> None:
    try:
        path = open_path("/nowhere/archive", f"{start}/../../{end}")
    except (InputError, ValueError):
        return
    raise AssertionError(path)


def test_broken_and_unreadable_forms_give_one_line(tmp_path: Path) -> None:
    for name in ("a.zip", "a.tar"):
        (tmp_path / name).write_bytes(b"PK\x03\x04 nonsense" * 40)
        with pytest.raises(InputError, match="is no whole"):
            open_container(tmp_path / name).names()
    (tmp_path / "a.tar.gz").write_bytes(b"x")
    with pytest.raises(InputError, match="cannot be read in place"):
        open_container(tmp_path / "a.tar.gz")
    with pytest.raises(InputError, match="no such archive"):
        open_container(tmp_path / "none")
    for part in ("BigEarthNet-S1.tar.gzaa", "activations.tar.000.gz.part"):
        (tmp_path / part).write_bytes(b"x")
        with pytest.raises(InputError, match="join its parts"):
            open_container(tmp_path / part)
    secret = pack_zip(tmp_path, tmp_path.parent / "secret.zip")
    data = bytearray(secret.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1  # the flag of the first entry of the directory
    secret.write_bytes(data)
    with pytest.raises(InputError, match="is encrypted; unpack it"):
        open_container(secret).names()


def test_containers_that_are_cut_off_are_refused(tmp_path: Path) -> None:
    write_tif(tmp_path / "f" / "a.tif", power(1, 40, 40))
    for packed in (
        pack_zip(tmp_path / "f", tmp_path / "a.zip"),
        pack_tar(tmp_path / "f", tmp_path / "a.tar"),
    ):
        whole = packed.read_bytes()
        packed.write_bytes(whole[: len(whole) // 3])
        with pytest.raises(InputError, match="is no whole"):
            open_container(packed).names()


def test_a_name_held_twice_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("a.tif", b"1")
        with pytest.warns(UserWarning, match="Duplicate"):
            file.writestr("a.tif", b"2")
    with pytest.raises(InputError, match=r"holds a\.tif twice"):
        open_container(tmp_path / "a.zip").names()
