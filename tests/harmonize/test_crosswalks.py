import csv
import hashlib
import io
from importlib import resources

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmonize.corine import CLC_CODES
from harmonize.crosswalks import COLUMNS, builtin_names, load_crosswalk, parse_crosswalk
from harmonize.dynamic_world import LABELS
from landmark.errors import InputError
from landmark.taxonomy import CLASSES, LAND_COVER


def text_of(rows, header=COLUMNS):
    stream = io.StringIO()
    writer = csv.writer(stream)
    writer.writerow(header)
    writer.writerows(rows)
    return stream.getvalue().encode()


def parse(rows, codes=(1, 2)):
    return parse_crosswalk(text_of(rows), "own.csv", "own", "corine", codes)


def test_builtin_names():
    assert builtin_names() == (
        *("ben-19", "corine", "corine-published", "dynamic-world", "io-lulc", "surface-water"),
        *("taxonomy", "worldcover"),
    )


@pytest.mark.parametrize("name", ["corine", "corine-published"])
def test_corine_crosswalks_hold_every_code(name):
    crosswalk = load_crosswalk(name, "corine", CLC_CODES)
    assert crosswalk.codes() == tuple(sorted(CLC_CODES))
    matrix = crosswalk.matrix()
    assert matrix.shape == (44, 12)
    expected = np.ones(44)
    if name == "corine":
        expected[crosswalk.codes().index(334)] = 0
    np.testing.assert_allclose(matrix.sum(axis=1), expected)
    data = (resources.files("manifests") / "crosswalks" / f"{name}.csv").read_bytes()
    assert crosswalk.sha256 == hashlib.sha256(data).hexdigest()
    assert all(row.name for row in crosswalk.rows)


def test_default_decisions():
    crosswalk = load_crosswalk("corine", "corine", CLC_CODES)
    for code in (242, 243, 244, 324, 422, 423):
        assert len(crosswalk.rows_of(code)) > 1
        assert all(row.note for row in crosswalk.rows_of(code))
    assert [row.label for row in crosswalk.rows_of(213)] == ["Crops"]
    assert [row.label for row in crosswalk.rows_of(334)] == [None]


def test_published_counts():
    """One class per code, as many codes per class as the reference code has."""
    crosswalk = load_crosswalk("corine-published", "corine", CLC_CODES)
    matrix = crosswalk.matrix()
    assert set(np.unique(matrix)) == {0.0, 1.0}
    counts = dict(zip(CLASSES, matrix.sum(axis=0).astype(int).tolist(), strict=True))
    assert counts == {
        "Water": 5, "Trees": 4, "Grass": 4, "Flooded Vegetation": 4, "Crops": 8,
        "Shrub and Scrub": 3, "Built": 6, "Bare": 8, "Snow and Ice": 1,
        "Flooded Area": 0, "Burned Area": 1, "Earthquake Damage": 0,
    }  # fmt: skip
    assert crosswalk.rows_of(334)[0].label == "Burned Area"
    assert crosswalk.rows_of(244)[0].label == "Trees"


def test_dynamic_world_is_the_taxonomy():
    crosswalk = load_crosswalk("dynamic-world", "dynamic-world", LABELS)
    np.testing.assert_array_equal(crosswalk.matrix(), np.eye(9, 12))
    assert [row.label for row in crosswalk.rows] == list(LAND_COVER)


def test_own_file_and_matrix_order(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_bytes(text_of([["corine", 1, "one", "Water", 0.25, ""],
                              ["corine", 1, "one", "Bare", "0.75", ""],
                              ["corine", 2, "two", "", "", "why"]]))  # fmt: skip
    crosswalk = load_crosswalk(str(path), "corine", (1, 2))
    assert crosswalk.name == "mine"
    matrix = crosswalk.matrix([2, 7, 1])
    assert matrix[0].sum() == matrix[1].sum() == 0
    assert matrix[2, CLASSES.index("Bare")] == 0.75
    assert crosswalk.name_of(2) == "two"
    assert crosswalk.name_of(9) == ""


GOOD = [["corine", 1, "one", "Water", 1, ""], ["corine", 2, "two", "", "", ""]]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (["corine", 1, "one", "Wetland", 1, ""], "own.csv:4: unknown class 'Wetland'"),
        (["corine", 1, "one", "Bare", 0.1, ""], "own.csv:4: the weights of code 1 sum to 1.1"),
        (["corine", 1, "one", "Water", 0.1, ""], "own.csv:4: code 1 has 'Water' twice"),
        (["corine", 1, "one", "", "", ""], "own.csv:4: code 1 has rows with and without class"),
        (["corine", 2, "two", "Bare", 1, ""], "own.csv:4: code 2 has rows with and without class"),
        (["corine", 3, "three", "Bare", 1, ""], "own.csv:4: code 3 is no code of corine"),
        (["corine", "x", "one", "Bare", 1, ""], "own.csv:4: code 'x'"),
        (["corine", 2, "two", "Bare", "much", ""], "own.csv:4: weight 'much'"),
        (["corine", 2, "two", "Bare", 0, ""], "own.csv:4: weight 0"),
        (["corine", 2, "two", "Bare", "nan", ""], "own.csv:4: weight nan"),
        (["corine", 2, "two", "", 0.5, ""], "own.csv:4: weight '0.5' without a class"),
        (["dynamic-world", 2, "two", "Bare", 1, ""], "own.csv:4: source is 'dynamic-world'"),
        (["corine", 2, "two", "Bare", 1], "own.csv:4: has 5 cells"),
    ],
)
def test_a_bad_line_is_named(row, words):
    with pytest.raises(InputError) as caught:
        parse([*GOOD, row])
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_whole_file_faults(tmp_path):
    with pytest.raises(InputError, match="columns must be"):
        parse_crosswalk(text_of(GOOD, ("code", "class")), "own.csv", "own", "corine", (1, 2))
    with pytest.raises(InputError, match="no row for corine code 2"):
        parse(GOOD[:1])
    with pytest.raises(InputError, match="UTF-8"):
        parse_crosswalk(b"\xff\xfe\x00", "own.csv", "own", "corine", (1,))
    with pytest.raises(InputError, match="no such built-in crosswalk"):
        load_crosswalk("corina", "corine", (1,))
    with pytest.raises(InputError, match="cannot be read as a crosswalk"):
        load_crosswalk(str(tmp_path / "none.csv"), "corine", (1,))


@given(
    st.dictionaries(
        st.integers(1, 999),
        st.lists(st.sampled_from(CLASSES), max_size=4, unique=True),
        min_size=1,
        max_size=12,
    ),
    st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=20),
)
def test_what_is_written_is_read(wanted, note):
    rows = []
    for code, labels in wanted.items():
        weight = 1 / max(1, len(labels))
        rows += [["corine", code, f"c{code}", label, repr(weight), note] for label in labels]
        rows += [] if labels else [["corine", code, f"c{code}", "", "", note]]
    crosswalk = parse(rows, codes=wanted)
    matrix = crosswalk.matrix()
    for row, code in enumerate(crosswalk.codes()):
        found = {CLASSES[k] for k in np.flatnonzero(matrix[row])}
        assert found == set(wanted[code])
        assert all(r.note == note.strip() for r in crosswalk.rows_of(code))


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_noise_is_refused_in_one_line(data):
    header = ",".join(COLUMNS).encode() + b"\n"
    for content in (data, header + data):
        with pytest.raises(InputError) as caught:
            parse_crosswalk(content, "noise.csv", "noise", "corine", (1,))
        assert str(caught.value).startswith("noise.csv")
        assert "\n" not in str(caught.value)
