"""Synonyms: what is shipped, and what a wrong file is answered."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landmark.errors import InputError
from landmark.synonyms import load_synonyms, parse_synonyms
from landmark.taxonomy import CLASSES

#: Words that say nothing by themselves.
_FILLERS = {"a", "an", "the", "and", "or", "of", "in", "on", "by", "for", "under", "after", "over"}


def _file(*changes: tuple[str, str, str]) -> str:
    rows = [
        f"{c},{w},{w} words for number {k}"
        for k, c in enumerate(CLASSES)
        for w in ("train", "test")
    ]
    rows += [",".join(change) for change in changes]
    return "\n".join(["class,list,text", *rows]) + "\n"


def test_shipped_lists_are_disjoint_and_name_no_class() -> None:
    shipped = load_synonyms()
    assert tuple(shipped.train) == tuple(shipped.test) == CLASSES
    for name in CLASSES:
        train, test = shipped.train[name], shipped.test[name]
        assert len(set(train)) >= 5
        assert len(set(test)) >= 4
        # Not even a word is shared: a test phrase cannot be matched by its words.
        words = [
            {w for text in texts for w in re.findall(r"\w+", text)} - _FILLERS
            for texts in (train, test)
        ]
        assert not words[0] & words[1], name
        for text in (*train, *test):
            assert not any(re.search(rf"\b{c.lower()}\b", text) for c in CLASSES), text


def test_own_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(_file(("Water", "train", "a puddle")))
    assert load_synonyms(path).train["Water"] == ("train words for number 0", "a puddle")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("Lava", "train", "hot"), "unknown class 'Lava'"),
        (("Water", "val", "a puddle"), "list is 'val'"),
        (("Water", "train", "A Puddle"), "lower case"),
        (("Water", "train", ""), "lower case"),
        (("Water", "train", "deep water"), "class name 'Water'"),
        (("Water", "test", "train words for number 0"), "stands in line 2 already"),
        (("Water", "train"), "has 2 cells"),
    ],
)
def test_wrong_line_is_named(row: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=r"mine\.csv:26: ") as caught:
        parse_synonyms(_file(row).encode(), "mine.csv")  # type: ignore[arg-type]
    assert message in str(caught.value)


def test_missing_file_and_missing_class(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read as synonyms"):
        load_synonyms(tmp_path / "none.csv")
    with pytest.raises(InputError, match="holds no test text for Water"):
        parse_synonyms(_file().replace("Water,test", "Trees,test").encode(), "mine.csv")
    with pytest.raises(InputError, match="not UTF-8"):
        parse_synonyms(b"\xff\xfe", "mine.csv")
    with pytest.raises(InputError, match="columns must be"):
        parse_synonyms(b"class;list;text\n", "mine.csv")


@given(st.binary(max_size=200))
def test_any_bytes_give_a_clear_error(data: bytes) -> None:
    with pytest.raises(InputError):
        parse_synonyms(data, "mine.csv")
