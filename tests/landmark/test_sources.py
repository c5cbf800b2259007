from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from landmark.dataset import Dataset
from landmark.errors import InputError
from landmark.manifest import Catalog, Sentinel1
from landmark.sources import Root, Roots, is_url, open_roots, unsigned
from tests.landmark.made_scenes import manifest


@pytest.fixture
def local(tmp_path: Path) -> Roots:
    (tmp_path / "stac" / "a").mkdir(parents=True)
    (tmp_path / "stac" / "items.json").write_text("{}")
    (tmp_path / "stac" / "a" / "B02.tif").touch()
    (tmp_path / "outside.tif").touch()
    asked = manifest(tmp_path / "stac" / "items.json")
    return open_roots(asked, Dataset(tmp_path / "data"))


def test_local_hrefs_are_stored_relative_and_resolve_back(local: Roots, tmp_path: Path) -> None:
    folder = tmp_path / "stac"
    for href, base in [
        ("./a/B02.tif", ""),
        ("../a/./B02.tif", str(folder / "a")),
        ("B02.tif", str(folder / "a")),
        (str(folder / "a" / "B02.tif"), ""),
        (f"file://{folder}/a/B02.tif", ""),
    ]:
        stored = local.stored("s2", href, base)
        assert stored == "a/B02.tif"
        assert local.resolve("s2", stored) == str(folder / "a" / "B02.tif")


@pytest.mark.parametrize("href", ["../outside.tif", "a/../../outside.tif", "/etc/passwd"])
def test_paths_stay_inside_the_catalog(local: Roots, href: str) -> None:
    for refuse in (local.resolve, local.stored):
        with pytest.raises(InputError, match="leaves the catalog's folder") as caught:
            refuse("s2", href)
        assert repr(href) in str(caught.value)


def test_a_folder_of_similar_name_is_outside(tmp_path: Path) -> None:
    roots = Roots(s1=None, s2=Root("local", "x", str(tmp_path / "stac")))
    with pytest.raises(InputError, match="leaves"):
        roots.stored("s2", str(tmp_path / "stac-other" / "B02.tif"))


def test_missing_file_and_unknown_scheme(local: Roots) -> None:
    with pytest.raises(InputError, match=r"a/B03.tif: no such file"):
        local.resolve("s2", "a/B03.tif")
    with pytest.raises(InputError, match="unknown scheme"):
        local.resolve("s2", "ftp://host/B03.tif")
    with pytest.raises(InputError, match="names no s1"):
        local.resolve("s1", "a/B02.tif")


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://h/a.tif", "https://h/a.tif"),
        ("https://h/a.tif?sv=2020&sig=abc", "https://h/a.tif"),
        ("https://h/a.tif?X-Amz-Signature=abc", "https://h/a.tif"),
        ("https://user:pass@h:8080/a.tif", "https://h:8080/a.tif"),
        ("https://h/a.tif?band=2", "https://h/a.tif?band=2"),
        ("s3://bucket/a.tif", "s3://bucket/a.tif"),
    ],
)
def test_urls_lose_their_secrets(local: Roots, url: str, kept: str) -> None:
    assert is_url(url)
    assert unsigned(url) == kept
    assert local.stored("s2", url) == kept
    assert local.resolve("s2", kept) == kept


def test_an_api_has_no_folder() -> None:
    roots = Roots(s1=None, s2=Root("api", "https://h/stac", ""))
    assert roots.stored("s2", "https://h/a.tif?sig=1") == "https://h/a.tif"
    for refuse in (roots.resolve, roots.stored):
        with pytest.raises(InputError, match="is no URL"):
            refuse("s2", "a.tif")


def test_label_paths(local: Roots, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no catalog of this manifest is the sandbox"):
        local.label_path("sandbox:labels/corine.tif")
    assert local.label_path(str(tmp_path / "outside.tif")) == tmp_path / "outside.tif"
    with pytest.raises(InputError, match="no such file"):
        local.label_path(str(tmp_path / "nothing.tif"))
    sandbox = Roots(s1=None, s2=None, sandbox=str(tmp_path / "stac"))
    assert sandbox.label_path("sandbox:a/B02.tif") == tmp_path / "stac" / "a" / "B02.tif"
    with pytest.raises(InputError, match="leaves"):
        sandbox.label_path("sandbox:../outside.tif")


def test_the_sandbox_is_written_once_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Path, str, int]] = []

    def ensure(folder: Path, size: str, seed: int, progress: object) -> Path:
        asked.append((folder, size, seed))
        return folder / "catalog.json"

    monkeypatch.setattr("landmark.sandbox.ensure_sandbox", ensure)
    wanted = manifest("x", catalog=Catalog(kind="sandbox", size="small"), seed=7, s1=Sentinel1())
    roots = open_roots(wanted, Dataset(tmp_path))
    folder = tmp_path / "cache" / "sandbox"
    assert asked == [(folder, "small", 7)]
    assert roots.sandbox == str(folder)
    assert roots.s1 == roots.s2 == Root("sandbox", str(folder / "catalog.json"), str(folder))


def test_roots_are_small_and_picklable(local: Roots) -> None:
    data = pickle.dumps(local)
    assert len(data) < 1000
    assert pickle.loads(data) == local


def test_missing_catalogs(tmp_path: Path) -> None:
    data = Dataset(tmp_path / "data")
    with pytest.raises(InputError, match=r"catalog.href: .*no such file"):
        open_roots(manifest(tmp_path / "none.json"), data)
    with pytest.raises(InputError, match=r"catalog.json: no such file"):
        open_roots(manifest(tmp_path), data)
    with pytest.raises(InputError, match="reads files, no URL"):
        open_roots(manifest("https://h/catalog.json?sig=1"), data)
    archive = Catalog(kind="archive", format="reben", href=str(tmp_path / "none"))
    with pytest.raises(InputError, match="archives are missing: reben"):
        open_roots(manifest("x", catalog=archive, grid="source"), data)
    api = Catalog(kind="api", href="stac.example")
    with pytest.raises(InputError, match=r"no http\(s\) URL"):
        open_roots(manifest("x", catalog=api), data)


@pytest.fixture
def archives(tmp_path: Path) -> Roots:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "there.tif").touch()
    (tmp_path / "two.h5").touch()
    members = tuple((name, str(tmp_path / name)) for name in ("one", "two.h5"))
    return Roots(s1=None, s2=Root("archive", "x", "", members=members))


def test_files_in_an_archives_folder_are_not_looked_for(archives: Roots, tmp_path: Path) -> None:
    locate = archives.locator("s2")
    assert locate("one/there.tif") == archives.resolve("s2", "one/there.tif")
    assert locate("one/gone.tif") == str(tmp_path / "one" / "gone.tif")
    with pytest.raises(InputError, match="no such file"):
        archives.resolve("s2", "one/gone.tif")
    assert locate("two.h5/two.h5#a") == str(tmp_path / "two.h5#a")
    with pytest.raises(InputError, match="no such file"):
        locate("two.h5/gone.h5#a")
    assert locate("https://h/a.tif") == "https://h/a.tif"


@pytest.mark.parametrize(
    "inner",
    [
        "a#/../../b.tif",
        "x.h5#../../b",
        "../a.tif",
        "a/../../b.tif",
        "/etc/passwd",
        "..",
        "",
        "a\\..\\b",
    ],
)
def test_locating_does_not_leave_an_archive(archives: Roots, inner: str) -> None:
    for find in (archives.locator("s2"), lambda href: archives.resolve("s2", href)):
        with pytest.raises(InputError, match="would leave the archive"):
            find(f"one/{inner}")
        with pytest.raises(InputError, match="names no archive 'three'"):
            find(f"three/{inner}")


def test_locating_elsewhere_looks(local: Roots) -> None:
    assert local.locator("s2")("a/B02.tif") == local.resolve("s2", "a/B02.tif")
    with pytest.raises(InputError, match="no such file"):
        local.locator("s2")("a/B03.tif")
