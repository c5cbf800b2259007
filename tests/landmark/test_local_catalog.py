from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from landmark.errors import InputError
from landmark.local_catalog import matcher, read_items
from tests.landmark.made_scenes import item, write_items

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["type", "id", "properties", "assets", "features", "links", "rel", "href"]
            ),
            inner | st.sampled_from(["Feature", "Catalog", "FeatureCollection", "child", "item"]),
            max_size=5,
        )
    ),
    max_leaves=12,
)


def static_catalog(folder: Path, items: list[dict]) -> Path:
    """Write a catalog -> collection -> items tree; hrefs of assets count from each item."""
    collection = {"type": "Collection", "id": "sentinel-2-l2a", "license": "CC-BY-4.0"}
    links = []
    for one in items:
        path = folder / "col" / one["id"] / "item.json"
        path.parent.mkdir(parents=True)
        assets = {key: {"href": f"./{key}.tif"} for key in one["assets"]}
        path.write_text(json.dumps(one | {"assets": assets}))
        links.append({"rel": "item", "href": f"./{one['id']}/item.json"})
    # Links back up must not be followed for ever.
    links.append({"rel": "child", "href": "../catalog.json"})
    (folder / "col" / "collection.json").write_text(json.dumps(collection | {"links": links}))
    root = {"type": "Catalog", "id": "root", "links": []}
    root["links"] = [
        {"rel": "self", "href": "./catalog.json"},
        {"rel": "child", "href": "./col/collection.json"},
    ]
    (folder / "catalog.json").write_text(json.dumps(root))
    return folder / "catalog.json"


def test_three_forms_hold_the_same_items(tmp_path: Path) -> None:
    items = [item("a"), item("b")]
    from_json = list(read_items(write_items(tmp_path / "items.json", items)))
    from_lines = list(read_items(write_items(tmp_path / "items.ndjson", items)))
    assert [e.item for e in from_json] == [e.item for e in from_lines] == items
    assert {e.folder for e in from_json + from_lines} == {tmp_path}
    walked = list(read_items(static_catalog(tmp_path / "static", items)))
    assert [e.item["id"] for e in walked] == ["a", "b"]
    assert [e.folder for e in walked] == [tmp_path / "static" / "col" / n for n in ("a", "b")]
    assert {e.licence for e in walked} == {"CC-BY-4.0"}


def test_one_item_is_a_catalog_too(tmp_path: Path) -> None:
    (tmp_path / "item.json").write_text(json.dumps(item("a")))
    assert [e.item["id"] for e in read_items(tmp_path / "item.json")] == ["a"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("items.json", "{", r"items.json: is no JSON"),
        ("items.json", "[]", r"items.json: holds no STAC object"),
        ("items.json", '{"type": "FeatureCollection", "features": [{}]}', "feature 0: is no STAC"),
        ("items.ndjson", '\n{"type": "Feature"}\n', "line 2: is no STAC item"),
        ("items.ndjson", "nonsense", "line 1: is no JSON"),
        (
            "catalog.json",
            '{"type": "Catalog", "links": [{"rel": "item", "href": "https://h/i.json"}]}',
            "must be local as a whole",
        ),
        (
            "catalog.json",
            '{"type": "Catalog", "links": [{"rel": "item", "href": "gone.json"}]}',
            r"gone.json: cannot be read: No such file",
        ),
    ],
)
def test_faults_name_file_and_place(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        list(read_items(tmp_path / name))
    assert "\n" not in str(caught.value)


@given(value=json_values, lines=st.booleans())
@settings(max_examples=150, deadline=None)
@example(value={"type": "Catalog", "links": "Feature"}, lines=False)
@example(value={"type": "FeatureCollection", "features": 5}, lines=False)
@example(value={"type": "Catalog", "links": [{"rel": "item", "href": "\0"}]}, lines=False)
def test_any_json_gives_items_or_one_clear_error(
    tmp_path_factory: pytest.TempPathFactory, value: object, lines: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / ("any.ndjson" if lines else "any.json")
    path.write_text(json.dumps(value))
    try:
        found = list(read_items(path))
    except InputError:
        return
    assert all(isinstance(e.item["properties"], dict) for e in found)


def test_filters_match_as_in_sql() -> None:
    one = item("a", **{"eo:cloud_cover": 5})
    assert matcher("eo:cloud_cover < 10", "s2.filter")(one)
    assert not matcher("eo:cloud_cover > 10", "s2.filter")(one)
    assert not matcher("missing < 10", "s2.filter")(one)
    assert matcher("id = 'a' AND datetime > TIMESTAMP('2020-01-01T00:00:00Z')", "s2.filter")(one)
    with pytest.raises(InputError, match=r"s2.filter: '\(\(\(' is no CQL2 text") as caught:
        matcher("(((", "s2.filter")
    assert "\n" not in str(caught.value)


def test_a_catalog_behind_a_link_stays_behind_it(tmp_path: Path) -> None:
    (tmp_path / "real" / "child" / "one").mkdir(parents=True)
    top = {"type": "Catalog", "links": [{"rel": "child", "href": "./child/collection.json"}]}
    child = {"type": "Collection", "links": [{"rel": "item", "href": "./one/one.json"}]}
    (tmp_path / "real" / "catalog.json").write_text(json.dumps(top))
    (tmp_path / "real" / "child" / "collection.json").write_text(json.dumps(child))
    (tmp_path / "real" / "child" / "one" / "one.json").write_text(json.dumps(item("one")))
    (tmp_path / "linked").symlink_to(tmp_path / "real")
    (found,) = read_items(tmp_path / "linked" / "catalog.json")
    assert found.folder == tmp_path / "linked" / "child" / "one"
