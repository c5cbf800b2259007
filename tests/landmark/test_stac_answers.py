"""Answers of a search over HTTP that are kept, so that nothing is asked twice."""

from __future__ import annotations

import datetime as dt
import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest

from landmark.answers import Answers
from landmark.errors import LandmarkError
from landmark.manifest import Period
from tests.landmark.made_catalog import Catalog, api, search, serving_catalog
from tests.loopback import Asked, Reply


@pytest.fixture
def catalog() -> Iterator[Catalog]:
    with serving_catalog() as made:
        yield made


def test_a_second_search_asks_nothing(catalog: Catalog, tmp_path: Path) -> None:
    first = api(catalog, answers=Answers(tmp_path / "answers"))
    assert (search(first), first.licence("c")) == (["a", "b"], "CC0-1.0")
    before = len(catalog.server.asked)
    again = api(catalog, answers=Answers(tmp_path / "answers"))
    assert (search(again), again.licence("c")) == (["a", "b"], "CC0-1.0")
    assert len(catalog.server.asked) == before
    fresh = api(catalog, answers=Answers(tmp_path / "answers", refresh=True))
    assert search(fresh) == ["a", "b"]
    assert len(catalog.server.asked) > before


def test_an_answer_that_broke_off_is_not_kept(catalog: Catalog, tmp_path: Path) -> None:
    catalog.faults = [catalog.page(["a"], "next:1"), *[Reply({}, 500)] * 4]
    answers = Answers(tmp_path / "answers")
    with pytest.raises(LandmarkError):
        search(api(catalog, answers=answers))
    assert search(api(catalog, answers=answers)) == ["a", "b"]


def test_months_that_were_whole_survive_an_outage(catalog: Catalog, tmp_path: Path) -> None:
    two = Period(start=dt.date(2023, 6, 1), end=dt.date(2023, 7, 31))
    catalog.search = lambda asked: catalog.page([asked.json()["datetime"][5:7]])
    catalog.faults = [catalog.page(["06"]), *[Reply({}, 500)] * 4]
    answers = Answers(tmp_path / "answers")
    with pytest.raises(LandmarkError):
        search(api(catalog, answers=answers), period=two)
    before = len(catalog.searches)
    assert search(api(catalog, answers=answers), period=two) == ["06", "07"]
    assert len(catalog.searches) == before + 1


def test_a_damaged_answer_is_asked_for_again(catalog: Catalog, tmp_path: Path) -> None:
    answers = Answers(tmp_path / "answers")
    search(api(catalog, answers=answers))
    for path in (tmp_path / "answers").iterdir():
        path.write_bytes(path.read_bytes()[:40])
    before = len(catalog.searches)
    assert search(api(catalog, answers=answers)) == ["a", "b"]
    assert len(catalog.searches) == before + 2


def test_answers_hold_no_signature(catalog: Catalog, tmp_path: Path) -> None:
    def signed(asked: Asked) -> Reply:
        reply = catalog.page(["a"])
        for asset in reply.value["features"][0]["assets"].values():
            asset["href"] = "https://h.invalid/x.tif?sv=1&sig=secret"
            asset["alternate"] = {"s3": {"href": "https://u:secret@h.invalid/y.tif"}}
        return reply

    catalog.search = signed
    search(api(catalog, answers=Answers(tmp_path / "answers")))
    kept = Answers(tmp_path / "answers")
    texts = [gzip.decompress(path.read_bytes()) for path in (tmp_path / "answers").iterdir()]
    assert texts
    assert all(b"secret" not in text for text in texts)
    assert kept.read({"no": "such"}) is None
