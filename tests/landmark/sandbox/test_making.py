"""How the synthetic Earth is put in place: once, whole, and the same for equal seeds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from landmark.errors import InputError
from landmark.progress import Silent
from landmark.sandbox import SANDBOX_VERSION, ensure_sandbox, fields, making
from tests.landmark.sandbox.reading import (
    SEED,
    Counting,
)


def tree(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_equal_seeds_give_equal_bytes_whatever_the_threads(
    sandbox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(making, "_threads", lambda: 1 if len(os.sched_getaffinity(0)) > 1 else 3)
    ensure_sandbox(tmp_path / "elsewhere", "small", SEED)
    first, second = tree(sandbox), tree(tmp_path / "elsewhere")
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []


def test_streams_differ_by_seed_and_name() -> None:
    draws = {
        tuple(fields.stream(seed, name).integers(1 << 30, size=4))
        for seed in (0, 1)
        for name in ("a", "b")
    }
    assert len(draws) == 4


class Maker:
    """Stands in for the real maker: writes a small file, counts, and fails when told to."""

    def __init__(self) -> None:
        self.made: list[tuple[str, int]] = []
        self.error: BaseException | None = None

    def __call__(self, folder: Path, size: str, seed: int, progress: Silent) -> None:
        assert not any(folder.iterdir())
        (folder / "sub").mkdir()
        (folder / "sub" / "file.txt").write_text(f"{size} {seed}")
        if self.error is not None:
            raise self.error
        (folder / "catalog.json").write_text("{}")
        self.made.append((size, seed))


@pytest.fixture
def maker(monkeypatch: pytest.MonkeyPatch) -> Iterator[Maker]:
    stand_in = Maker()
    monkeypatch.setattr(making, "make_sandbox", stand_in)
    return stand_in


def test_a_sandbox_is_made_once_and_remade_when_asked_for_another(
    tmp_path: Path, maker: Maker
) -> None:
    folder = tmp_path / "deep" / "sandbox"
    assert ensure_sandbox(folder, "small", 1) == folder / "catalog.json"
    ensure_sandbox(folder, "small", 1)
    assert maker.made == [("small", 1)]
    ensure_sandbox(folder, "small", 2)
    assert (folder / "sub" / "file.txt").read_text() == "small 2"
    ensure_sandbox(folder, "demo", 2)
    marker = json.loads((folder / "sandbox.json").read_text())
    assert marker == {"sandbox": SANDBOX_VERSION, "size": "demo", "seed": 2}
    assert [p.name for p in folder.parent.iterdir()] == ["sandbox"]


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_an_interrupted_run_leaves_nothing_and_harms_nothing(
    tmp_path: Path, maker: Maker, error: BaseException
) -> None:
    maker.error = error
    with pytest.raises(type(error)):
        ensure_sandbox(tmp_path / "sandbox", "small", 1)
    assert list(tmp_path.iterdir()) == []
    maker.error = None
    ensure_sandbox(tmp_path / "sandbox", "small", 1)
    maker.error = error
    with pytest.raises(type(error)):
        ensure_sandbox(tmp_path / "sandbox", "small", 2)
    assert (tmp_path / "sandbox" / "sub" / "file.txt").read_text() == "small 1"
    assert [p.name for p in tmp_path.iterdir()] == ["sandbox"]


def test_a_killed_run_is_swept_up_and_a_living_one_is_not(tmp_path: Path, maker: Maker) -> None:
    code = (
        "import os, sys; from pathlib import Path; from landmark.sandbox import making, "
        "ensure_sandbox\n"
        "def die(folder, *rest):\n"
        "    (folder / 'half').write_text('x'); os.kill(os.getpid(), 9)\n"
        "making.make_sandbox = die\n"
        "ensure_sandbox(Path(sys.argv[1]), 'small', 1)"
    )
    dead = subprocess.run([sys.executable, "-c", code, str(tmp_path / "sandbox")], check=False)
    assert dead.returncode == -9
    (left,) = tmp_path.iterdir()
    assert (left / "half").exists()
    living = left.with_name(left.name.rsplit("~", 2)[0] + f"~{os.getppid()}~0.tmp")
    living.mkdir()
    ensure_sandbox(tmp_path / "sandbox", "small", 1)
    assert {p.name for p in tmp_path.iterdir()} == {"sandbox", living.name}


def test_two_runs_at_once_give_one_sandbox(tmp_path: Path, maker: Maker) -> None:
    folder = tmp_path / "sandbox"

    class Racing(Maker):
        def __call__(self, temporary: Path, size: str, seed: int, progress: Silent) -> None:
            if not self.made:
                self.made.append((size, seed))
                ensure_sandbox(folder, "small", 1)
            maker(temporary, size, seed, progress)

    racing = Racing()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(making, "make_sandbox", racing)
        ensure_sandbox(folder, "small", 1)
    assert len(maker.made) == 2
    assert [p.name for p in tmp_path.iterdir()] == ["sandbox"]
    assert (folder / "sandbox.json").exists()


def test_foreign_folders_and_unknown_sizes_are_refused(tmp_path: Path, maker: Maker) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    ensure_sandbox(mine, "small", 1)
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("precious")
    with pytest.raises(InputError, match="not a sandbox"):
        ensure_sandbox(other, "small", 1)
    assert (other / "thesis.txt").read_text() == "precious"
    with pytest.raises(InputError, match="not a sandbox"):
        ensure_sandbox(other / "thesis.txt", "small", 1)
    with pytest.raises(InputError, match="'tiny' is unknown"):
        ensure_sandbox(tmp_path / "new", "tiny", 1)  # type: ignore[arg-type]
    assert not (tmp_path / "new").exists()


def test_progress_is_told_of_every_raster(sandbox: Path, progress: Counting) -> None:
    rasters = len(list(sandbox.rglob("*.tif")))
    assert (progress.total, progress.done, progress.finished) == (rasters, rasters, 1)


def test_importing_the_sandbox_is_light() -> None:
    code = (
        "import sys, landmark.sandbox\n"
        "print({'torch', 'geopandas', 'rasterio', 'pystac'} & set(sys.modules))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "set()"
