from __future__ import annotations

import datetime as dt

import pyarrow as pa
import pytest

from harmonize.licences import (
    NOT_STATED,
    SourceTerms,
    columns_of,
    strictest_first,
    strictness,
)
from landmark.dataset import Dataset
from tests.harmonize.datasets import manifest, square, write
from tests.harmonize.test_cards import publication


@pytest.mark.parametrize(
    ("strict", "free"),
    [
        (NOT_STATED, "CC-BY-NC-ND-4.0"),
        ("CC-BY-ND-4.0", "CC-BY-NC-4.0"),
        ("proprietary", "CC-BY-NC-4.0"),
        ("CC-BY-NC-SA-4.0", "CC-BY-SA-4.0"),
        ("ODbL-1.0", "CC-BY-4.0"),
        ("cc by sa 4.0", "CC BY 4.0"),
        ("CDLA-Permissive-1.0", "CC0-1.0"),
        ("LicenseRef-Copernicus-CLMS", "public domain"),
    ],
)
def test_stricter_licences_come_first(strict: str, free: str) -> None:
    assert strictness(strict) < strictness(free)
    assert strictest_first([free, strict, free]) == [strict, free]


def test_terms_are_those_of_the_manifest_then_the_producers() -> None:
    rules = manifest(
        catalog={"kind": "api", "href": "https://stac.example.org"},
        labels=[
            {"kind": "corine", "rasters": ["clc.tif"]},
            {"kind": "dynamic-world", "rasters": ["dw.tif"], "licence": "CC-BY-SA-4.0"},
        ],
        events=[{"type": "flood", "file": "f.gpkg", "attribution": "By the mappers."}],
    )
    terms = SourceTerms.of(rules)
    assert terms.labels["corine"].licence == "LicenseRef-Copernicus-CLMS"
    assert terms.labels["dynamic-world"].licence == "CC-BY-SA-4.0"
    assert "Google" in terms.labels["dynamic-world"].attribution
    assert terms.events["flood"].licence == NOT_STATED
    assert terms.events["flood"].attribution == "By the mappers."
    assert not terms.synthetic


def test_labels_of_archives_come_under_the_terms_of_their_archive() -> None:
    archives = [{"format": name, "href": f"{name}.zip"} for name in ("cabuar", "mmflood")]
    catalog = {"kind": "archive", "archives": archives}
    rules = manifest(catalog=catalog, grid="source", labels=[{"kind": "archive"}])
    terms = SourceTerms.of(rules)
    assert terms.labels["cabuar"].licence == "OPENRAIL"
    assert "CaBuAr" in terms.labels["cabuar"].attribution
    assert terms.labels["mmflood"].licence == "MIT"
    assert "quakeset" not in terms.labels
    labels = [{"kind": "archive", "licence": "CC-BY-4.0"}]
    rules = manifest(catalog=catalog, grid="source", labels=labels)
    assert SourceTerms.of(rules).labels["mmflood"].licence == "CC-BY-4.0"
    record = {"source": "cabuar", "version": "", "crosswalk": "native"}
    masks = {"label_sources": [[record]], "events": [[{"type": "fire", "source": "cabuar"}]]}
    patches = {
        "sensor": ["s2"],
        "datetime": [dt.datetime(2020, 1, 1, tzinfo=dt.UTC)],
        "provenance": [{"licence": "CC0-1.0"}],
    }
    made = columns_of(pa.table(patches), pa.table(masks), terms)
    assert made["licences"].to_pylist() == [["OPENRAIL", "CC0-1.0"]]


def test_every_row_carries_its_own_and_the_card_sums_them(tmp_path_factory) -> None:  # type: ignore[no-untyped-def]
    dataset: Dataset = write(tmp_path_factory.mktemp("terms") / "data", square(4), manifest())
    made = publication(
        dataset,
        manifest(
            catalog={"kind": "api", "href": "https://stac.example.org"},
            events=[{"type": "fire", "file": "f.gpkg", "licence": "CC-BY-NC-4.0"}],
        ),
    )
    counts: dict[str, int] = {}
    for row in made.index.to_pylist():
        expected = {"CC0-1.0", "LicenseRef-Copernicus-CLMS"}
        kinds = {name.split(":")[0] for name in row["event_ids"]}
        expected |= {"CC-BY-NC-4.0"} if "fire" in kinds else set()
        expected |= {NOT_STATED} if kinds - {"fire"} else set()
        assert set(row["licences"]) == expected
        assert row["licences"] == strictest_first(row["licences"])
        assert any("Copernicus Sentinel data 2023" in line for line in row["attributions"])
        for name in row["licences"]:
            counts[name] = counts.get(name, 0) + 1
    card = made.texts["README.md"].decode()
    assert f"| {NOT_STATED} | {counts[NOT_STATED]} |" in card
    assert f"(it is **{NOT_STATED}**)" in card
    assert card.index(f"| {NOT_STATED} |") < card.index("| CC-BY-NC-4.0 |")
