"""`landmark export` and what `fetch --plan` says of missing archives, through the program."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from cli.main import run
from harmonize.pipeline import harmonize
from landmark.archive_settings import Archive
from landmark.archives import MODULES, about
from landmark.fetching import FetchOptions, fetch
from landmark.progress import Silent
from tests.landmark.archives.made import make_crisislandmark
from tests.landmark.archives.test_crisislandmark import images
from tests.landmark.archives.test_fetching_archives import PUBLISHED, manifest


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("export")
    folder = make_crisislandmark(base / "a", images())
    asked = manifest(Archive(format="crisislandmark", href=str(folder)), **PUBLISHED)
    fetch(asked, base / "d", FetchOptions(workers=1), Silent())
    harmonize(base / "d", workers=1, progress=Silent())
    return base / "d"


def test_export_answers_with_what_it_wrote(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["export", str(dataset), "--format", "geotiff", "--out", str(tmp_path / "g")]
    assert run([*arguments, "--json", "--quiet"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["patches"], answer["files"]) == (4, 4)
    assert run(arguments) == 2
    assert "not an empty folder" in capsys.readouterr().err


def test_without_the_extra_the_mend_is_named(
    dataset: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "hdf5plugin", None)
    arguments = ["export", str(dataset), "--format", "crisislandmark-hdf5"]
    assert run([*arguments, "--out", str(tmp_path / "h"), "--quiet"]) == 2
    assert "install landmark[archives]" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_plan_without_its_archives_lists_where_to_get_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("crisislandmark", "crisislandmark-published"):
        out = str(tmp_path / "d")
        assert run(["fetch", name, "--out", out, "--plan", "--json", "--quiet"]) == 2
        shown = capsys.readouterr()
        missing = json.loads(shown.out)["missing"]
        assert [one["name"] for one in missing] == [
            *("reben", "cabuar", "mmflood", "sen12flood", "quakeset"),
        ]
        for one in missing:
            assert one["href"] == str(tmp_path / "archives" / one["name"])
            assert one["source"].startswith("https://")
            assert one["licence"]
            assert one["size"]
        assert shown.err.startswith("error: archives are missing: reben")
    assert run(["fetch", "crisislandmark", "--out", out, "--quiet"]) == 2
    assert capsys.readouterr().out == ""
    assert list(tmp_path.iterdir()) == []


def test_only_what_is_missing_is_listed_for_people_a_line_each(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("reben", "mmflood"):
        (tmp_path / "archives" / name).mkdir(parents=True)
    assert run(["fetch", "crisislandmark", "--out", str(tmp_path / "d"), "--plan"]) == 2
    shown = capsys.readouterr()
    lines = [line for line in shown.out.splitlines() if line.strip()]
    assert [line.partition(":")[0] for line in lines] == ["cabuar", "sen12flood", "quakeset"]
    for line, words in zip(
        lines,
        (
            ("5.6 GB", "licence OPENRAIL", "huggingface.co/datasets/DarthReca/california"),
            ("6.3 MB per Sentinel-2", "licence not established", "ieee-dataport.org"),
            ("11 GB", "licence OPENRAIL", "huggingface.co/datasets/DarthReca/quakeset"),
        ),
        strict=True,
    ):
        name = line.partition(":")[0]
        for word in (*words, f"put it at {tmp_path / 'archives' / name}"):
            assert word in line
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize("name", MODULES)
def test_every_archive_says_where_it_is_had_how_large_it_is_and_under_which_licence(
    name: str,
) -> None:
    found = about(name)
    assert "https://" in found.source
    assert "computed" in found.size
    assert found.title
    assert found.licence
