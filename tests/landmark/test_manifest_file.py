from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landmark import manifest_file
from landmark.errors import InputError
from landmark.manifest import Manifest

GOOD = """\
name: north
catalog:
  kind: sandbox
s2:
  bands: [B02, B04]
"""


def parse(text: str, **options: Any) -> Manifest:
    return manifest_file.parse_manifest(text, "m.yaml", Path("/data"), **options)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (GOOD + "  bnads: [B02]\n", ["m.yaml:6: s2.bnads: unknown key", "did you mean 'bands'?"]),
        (GOOD + "catalogue: {}\n", ["m.yaml:6: catalogue: unknown key", "'catalog'"]),
        (
            GOOD.replace("catalog:", "katalog:"),
            ["m.yaml:2: katalog: unknown key", "'catalog'", "(and 1 more)"],
        ),
        (
            GOOD + "splits:\n  train: 0.5\n  blok_km: 3\n",
            ["m.yaml:8: splits.blok_km", "'block_km'"],
        ),
        (GOOD + "labels:\n- kind: corine\n  rastres: []\n", ["m.yaml:8: labels[0].rastres"]),
        (
            GOOD + "time:\n  start: 2023-08-01\n  end: 2023-07-01\n",
            ["m.yaml:6: time: start 2023-08-01 is after end 2023-07-01: swap the two dates"],
        ),
        (GOOD + "time: {start: 2023-02-30, end: 2023-03-01}\n", ["m.yaml:6: time.start:"]),
        (GOOD + "time: {start: soon, end: 2023-03-01}\n", ["m.yaml:6: time.start:", "'soon'"]),
        (GOOD + "area: {bbox: [9, 44, 200, 45]}\n", ["m.yaml:6: area: bbox longitude", "200"]),
        (GOOD + "area: {bbox: [9, 44, 8, 45]}\n", ["m.yaml:6: area:", "west < east"]),
        (GOOD + "area: {bbox: [9, 44, 8]}\n", ["m.yaml:6: area.bbox"]),
        (GOOD + "area: {bbox: [9, x, 8, 9]}\n", ["m.yaml:6: area.bbox[1]", "number", "'x'"]),
        (GOOD.replace("B04", "B10"), ["m.yaml:5: s2.bands: unknown band 'B10'", "B11"]),
        (GOOD + "name: south\n", ["m.yaml:6: name: given twice (first in line 1): keep one"]),
        (GOOD.replace("sandbox", "sandbocks"), ["m.yaml:3: catalog.kind", "mean 'sandbox'"]),
        (GOOD.replace("kind: sandbox", "kind: local"), ["m.yaml:2: catalog:", "needs href"]),
        (GOOD.replace("name: north\n", ""), ["m.yaml:1: name: is needed, but missing"]),
        (GOOD.replace("north", "12"), ["m.yaml:1: name: should be text: put it in quotes"]),
        ("name: a: b\n", ["m.yaml:1: not valid YAML"]),
        ("name: [a\n", ["m.yaml:2: not valid YAML"]),
        ("a: 1\n---\nb: 2\n", ["m.yaml:2: not valid YAML"]),
        ("a\x07: 1\n", ["m.yaml:1: not valid YAML", "U+0007"]),
        ("", ["m.yaml: holds no manifest"]),
        ("- a\n", ["m.yaml: holds no manifest"]),
        ("a: &x [*x]\n", ["m.yaml:1: a[0]: refers to itself"]),
        ("1: a\n", ["m.yaml:1: key '1' is not text"]),
        ("? [a]\n: b\n", ["m.yaml:1:", "is not text"]),
        ("a: !!python/object:os.system {}\n", ["m.yaml:1: a: unknown tag"]),
        ("a: !!binary aGk=\n", ["m.yaml:1: a: unknown tag"]),
        ("a: " + "[" * 2000, ["not valid YAML"]),
        ("a: " + "[" * 100 + "]" * 100, ["m.yaml:1: a[0]", "nested too deeply"]),
        (
            GOOD.replace("kind: sandbox", "kind: api\n  href: https://me:secret@stac.test/"),
            ["m.yaml:4: catalog.href: holds credentials"],
        ),
        (
            GOOD.replace("kind: sandbox", "kind: api\n  href: https://stac.test/?x=1&sig=abc"),
            ["m.yaml:4: catalog.href: holds credentials"],
        ),
    ],
)
def test_each_mistake_is_one_line_with_its_place(text: str, expected: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        parse(text)
    message = str(caught.value)
    assert "\n" not in message
    for part in expected:
        assert part in message
    assert "secret" not in message
    assert "abc" not in message


def test_alias_bomb_is_refused_quickly() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    with pytest.raises(InputError, match="holds more than"):
        parse("\n".join(lines))


def test_missing_files_are_named_when_asked_for(tmp_path: Path) -> None:
    (tmp_path / "here.tif").touch()
    text = GOOD + "labels:\n- kind: corine\n  rasters:\n  - here.tif\n  - gone.tif\n"
    manifest_file.parse_manifest(text, "m.yaml", tmp_path)
    with pytest.raises(InputError, match=r"m\.yaml:10: labels\[0\]\.rasters\[1\]: no such file"):
        manifest_file.parse_manifest(text, "m.yaml", tmp_path, check_files=True)


def test_relative_paths_count_from_the_manifests_folder(tmp_path: Path) -> None:
    text = """\
name: paths
catalog: {kind: local, href: catalog.json}
s1:
  catalog: {kind: api, href: "https://stac.test/v1"}
s2:
  catalog: {kind: local, href: /abs/items.json}
area: {file: area.gpkg}
labels:
- {kind: corine, rasters: [clc.tif, "sandbox:labels/corine.tif"], crosswalk: my.csv}
- {kind: corine, crosswalk: corine-published}
events:
- {type: flood, file: f.geojson, analysed: sub/a.geojson}
"""
    (tmp_path / "m.yaml").write_text(text)
    m = manifest_file.load_manifest(str(tmp_path / "m.yaml"))
    assert m.catalog.href == str(tmp_path / "catalog.json")
    assert m.s1 is not None
    assert m.s2 is not None
    assert m.s1.catalog is not None
    assert m.s2.catalog is not None
    assert m.s1.catalog.href == "https://stac.test/v1"
    assert m.s2.catalog.href == "/abs/items.json"
    assert m.area is not None
    assert m.area.file == str(tmp_path / "area.gpkg")
    assert m.labels[0].rasters == (str(tmp_path / "clc.tif"), "sandbox:labels/corine.tif")
    assert m.labels[0].crosswalk == str(tmp_path / "my.csv")
    assert m.labels[1].crosswalk == "corine-published"
    assert m.events[0].file == str(tmp_path / "f.geojson")
    assert m.events[0].analysed == str(tmp_path / "sub/a.geojson")


def test_paths_and_built_in_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert manifest_file.load_manifest("demo").name == "demo"
    assert "demo" in manifest_file.builtin_names()
    (tmp_path / "demo").write_text(GOOD)
    assert manifest_file.load_manifest("demo").name == "north"  # an existing file is a path
    (tmp_path / "folder").mkdir()
    for name, reason in (
        ("dem", "no such built-in manifest (did you mean 'demo'?); built in: "),
        ("demo.yml", "demo.yml: no such manifest"),
        ("x/demo", "x/demo: no such manifest"),
        ("./folder", "is a folder"),
        ("", "'': no such built-in manifest"),
        ("a\0b", r"'a\x00b': no such"),
        ("a" * 5000, "File name too long"),
    ):
        with pytest.raises(InputError) as caught:
            manifest_file.load_manifest(name)
        assert reason in str(caught.value)


@pytest.mark.parametrize("name", manifest_file.builtin_names())
def test_built_in_manifests_load(name: str) -> None:
    assert manifest_file.load_manifest(name, check_files=True).name == name


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="is not UTF-8 text"):
        manifest_file.load_manifest(str(tmp_path / "m.yaml"))


def test_diff_names_the_changed_places() -> None:
    a = parse(GOOD + "labels:\n- {kind: corine}\n- {kind: dynamic-world}\n")
    b = parse(
        GOOD.replace("B04", "B08")
        + "labels:\n- {kind: corine}\n- {kind: dynamic-world, threshold: 0.1}\ns1: {}\nseed: 4\n"
    )
    assert manifest_file.diff(a, a) == []
    assert manifest_file.diff(a, b) == ["seed", "s1", "s2.bands", "labels[1].threshold"]
    assert manifest_file.diff(a, parse(GOOD)) == ["labels"]


_TEXT = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=8
)
_SHARE = st.floats(0, 1)


@st.composite
def _manifests(draw: st.DrawFn) -> Manifest:
    start = draw(st.dates(dt.date(2015, 1, 1), dt.date(2030, 1, 1)))
    raw: dict[str, Any] = {
        "name": draw(st.from_regex(r"\A[A-Za-z0-9_.-]{1,8}\Z")),
        "description": draw(_TEXT),
        "seed": draw(st.integers(0, 2**63)),
        "catalog": {"kind": "local", "href": "/" + draw(_TEXT)},
        "time": {"start": start, "end": start + dt.timedelta(draw(st.integers(0, 9999)))}
        if draw(st.booleans()) and start.year < 2020
        else None,
        "s2": {
            "bands": draw(st.lists(st.sampled_from(["B02", "B8A", "B12"]), min_size=1)),
            "assets": draw(st.dictionaries(_TEXT, _TEXT, max_size=2)),
            "filter": draw(st.none() | _TEXT),
            "max_scene_cloud": draw(_SHARE),
        },
        "s1": draw(st.none() | st.fixed_dictionaries({"nodata": st.none() | st.floats(-1e9, 1e9)})),
        "area": draw(st.sampled_from([None, {"bbox": [-10.5, 1e-7, 3, 60]}])),
        "labels": [{"kind": "corine", "version": draw(_TEXT), "threshold": draw(_SHARE)}],
    }
    return manifest_file._absolute(Manifest.model_validate(raw), Path("/data"))


@given(_manifests())
@settings(max_examples=40, deadline=None)
def test_dump_and_load_agree(manifest: Manifest) -> None:
    text = manifest_file.dump_manifest(manifest)
    again = parse(text)
    assert again == manifest
    assert manifest_file.dump_manifest(again) == text


@given(
    st.text(max_size=60)
    | st.text("ab:- \n[]{}&*!?|>'\"#%@`,1.\t", max_size=60)
    | st.text("ab:- \n[]{}&*!?|>'\"", max_size=30).map(lambda tail: GOOD + tail)
)
@settings(max_examples=400, deadline=None)
def test_any_text_loads_or_is_refused_in_one_line(text: str) -> None:
    message = ""
    try:
        parse(text, check_files=True)
    except InputError as error:
        message = str(error)
    assert len(message.splitlines()) <= 1
