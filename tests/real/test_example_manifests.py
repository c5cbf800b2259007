"""The example manifests plan against a local server that replays the catalogs' real answers.

The answers hold no pixels: headers come from the items' own `proj` fields, dark pixels are what
the baseline implies. Area and time are those of the recorded items. One of Planetary Computer's
tiles holds a strip of 800 m, so no whole patch.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from landmark import pixels, plan
from landmark.answers import Answers
from landmark.dataset import Dataset
from landmark.errors import InputError
from landmark.manifest import Area, Manifest, Period
from landmark.manifest_file import load_manifest
from landmark.progress import Silent
from landmark.scenes import Scene, SourceGrid
from landmark.sources import open_roots
from tests.loopback import Asked, Loopback, Reply, serving
from tests.real.recorded_answers import exchanges, recorded_items

pytestmark = pytest.mark.real
EXAMPLES = Path(__file__).parents[2] / "manifests" / "examples"
LANDINGS = {
    "planetary_computer": "stac-geoparquet_test_smoke[sentinel-2-l2a].yaml",
    "earth_search": "pystac-client_v1_test_filter.yaml",
    "cdse": "openeo-gps_v1_index.json",
}


class Replay:
    """One catalog's landing page and recorded items, at the local server's address."""

    def __init__(self, folder: Path, name: str) -> None:
        self.server: Loopback
        self.folder, self.name = folder, name
        self.items = [one for whose, one in recorded_items(folder) if whose == name]

    def landing(self) -> dict[str, Any]:
        path = self.folder / self.name / LANDINGS[self.name]
        if path.suffix == ".json":
            page: dict[str, Any] = json.loads(path.read_text())
        else:
            page = next(e.answer for e in exchanges(path) if e.answer.get("type") == "Catalog")
        root = next(link["href"] for link in page["links"] if link["rel"] in ("self", "root"))
        text = json.dumps(page).replace(root.rstrip("/"), self.server.url)
        moved: dict[str, Any] = json.loads(text)
        return moved

    def answer(self, asked: Asked) -> Reply:
        if asked.path.rstrip("/") == "":
            return Reply(self.landing())
        if asked.path == "/search":
            body = asked.json()
            first, last = body["datetime"].split("/")
            found = [
                one
                for one in self.items
                if one.get("collection") in body["collections"]
                and first <= one["properties"]["datetime"] <= last
            ]
            start = int(body.get("token", 0))
            page = found[start : start + 5]
            links = []
            if start + 5 < len(found):
                link = {"rel": "next", "href": f"{self.server.url}/search", "method": "POST"}
                links = [link | {"body": {"token": start + 5}, "merge": True}]
            return Reply({"type": "FeatureCollection", "features": page, "links": links})
        return Reply({"code": "NotFoundError"}, 404)


def stand_in(monkeypatch: pytest.MonkeyPatch, items: list[dict[str, Any]]) -> None:
    """Let a file's header be what its asset states, and dark pixels what the baseline implies."""
    stated = {}
    for one in items:
        for asset in one["assets"].values():
            properties = one["properties"]
            transform = asset.get("proj:transform") or properties.get("proj:transform")
            shape = asset.get("proj:shape") or properties.get("proj:shape")
            code = asset.get("proj:code") or properties.get("proj:epsg")
            if transform and shape and code:
                epsg = int(str(code).removeprefix("EPSG:"))
                stated[asset["href"].split("?")[0]] = (epsg, transform, shape)

    def header(path: str, signer: object = None) -> SourceGrid:
        epsg, transform, (rows, columns) = stated[path]
        a, b, c, d, e, f = transform[:6]
        return SourceGrid(epsg, (a, b, c, d, e, f), columns, rows)

    def dark(scene: Scene, resolve: object, signer: object = None) -> dict[str, float]:
        return dict.fromkeys(("B02", "B08"), 40.0 - scene.offset)

    monkeypatch.setattr(pixels, "read_header", header)
    monkeypatch.setattr(pixels, "low_percentiles", dark)


@pytest.fixture
def replay(shared_data: Path, request: pytest.FixtureRequest) -> Iterator[Replay]:
    made = Replay(shared_data / "stac_items", request.param)
    with serving(made.answer) as server:
        made.server = server
        yield made


@pytest.mark.parametrize(
    ("replay", "example", "days", "scenes"),
    [
        ("planetary_computer", "planetary-computer", ("2024-04-01", "2025-03-31"), 9),
        ("earth_search", "earth-search", ("2025-07-31", "2025-07-31"), 6),
        ("cdse", "cdse", ("2020-03-01", "2020-03-31"), 1),
    ],
    indirect=["replay"],
)
def test_an_example_plans_on_real_answers(
    replay: Replay,
    example: str,
    days: tuple[str, str],
    scenes: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stand_in(monkeypatch, replay.items)
    manifest = load_manifest(str(EXAMPLES / f"{example}.yaml"), check_files=True)
    start, end = (dt.date.fromisoformat(day) for day in days)
    here = manifest.model_copy(
        update={
            "catalog": manifest.catalog.model_copy(update={"href": replay.server.url}),
            "area": Area(bbox=(-180, -90, 180, 90)),
            "time": Period(start=start, end=end),
        }
    )
    table = make(here, tmp_path)
    found = {Scene.from_json(text) for text in set(table.column("scene").to_pylist())}
    assert len({one.item for one in found}) == scenes
    assert {one.provider for one in found} == {example}
    kept = [row for row in table.to_pylist() if row["status"] == "keep"]
    assert kept
    for row in kept:
        assert row["offset"] == (-1000 if row["baseline"] >= "04.00" else 0)
        assert row["offset_evidence"] in (("agrees",) if row["sensor"] == "s2" else ("",))
    asked = len(replay.server.asked)
    again = make(here, tmp_path)
    assert again.equals(table)
    assert len(replay.server.asked) == asked  # the second plan asked nothing


def make(manifest: Manifest, folder: Path) -> Any:
    roots = open_roots(manifest, Dataset(folder / "d"))
    answers = Answers(folder / "answers")
    path = folder / "plan.parquet"
    return plan.make_plan(path, manifest, roots, Silent(), answers=answers).table()


@pytest.mark.parametrize("replay", ["earth_search"], indirect=True)
def test_grd_is_refused_before_anything_is_asked(replay: Replay, tmp_path: Path) -> None:
    manifest = load_manifest(str(EXAMPLES / "planetary-computer.yaml"))
    assert manifest.s1 is not None
    for provider, collections in (
        ("planetary-computer", ("sentinel-1-grd",)),
        ("earth-search", ()),
    ):
        s1 = manifest.s1.model_copy(update={"provider": provider, "collections": collections})
        catalog = manifest.catalog.model_copy(update={"href": replay.server.url})
        asked = manifest.model_copy(update={"s1": s1, "s2": None, "catalog": catalog})
        with pytest.raises(InputError, match="ground range, not terrain corrected"):
            make(asked, tmp_path)
    assert replay.server.asked == []


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_example_is_a_manifest_without_secrets(path: Path) -> None:
    manifest = load_manifest(str(path), check_files=True)
    assert manifest.catalog.kind == "api"
    assert "secret" not in path.read_text().lower().replace("cdse_s3_secret_key", "")
