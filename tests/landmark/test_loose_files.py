from __future__ import annotations

from pathlib import Path

import pytest

from landmark.loose_files import SEAL, broken, remove_seal, sealed_files, write_seal


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "qrels").mkdir()
    (tmp_path / "README.md").write_text("card")
    (tmp_path / "qrels" / "binary.tsv").write_text("q 0 d 1\n")
    write_seal(tmp_path, ["qrels/binary.tsv", "README.md"])
    return tmp_path


def test_whole(folder: Path) -> None:
    assert broken(folder) == []
    assert list(sealed_files(folder) or {}) == ["README.md", "qrels/binary.tsv"]
    assert write_seal(folder, ["README.md", "qrels/binary.tsv"]) is False


@pytest.mark.parametrize("name", ["README.md", "qrels/binary.tsv", SEAL])
def test_any_flipped_byte_is_found(folder: Path, name: str) -> None:
    whole = (folder / name).read_bytes()
    for place in range(len(whole)):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << (place % 8)
        (folder / name).write_bytes(flipped)
        assert name in [found.file for found in broken(folder)], place
    (folder / name).write_bytes(whole)
    assert broken(folder) == []


def test_missing_and_cut_files_are_found(folder: Path) -> None:
    (folder / "README.md").write_text("ca")
    (folder / "qrels" / "binary.tsv").unlink()
    causes = {found.file: found.cause for found in broken(folder)}
    assert "is 2 bytes" in causes["README.md"]
    assert causes["qrels/binary.tsv"] == "is missing"
    remove_seal(folder)
    assert [found.file for found in broken(folder)] == [SEAL]
