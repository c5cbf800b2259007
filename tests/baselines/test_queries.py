from __future__ import annotations

import json
from pathlib import Path

import pytest

from baselines.queries import read_queries
from landmark.dataset import Dataset
from landmark.errors import InputError
from landmark.taxonomy import bit

GOOD = {"id": "a", "text": "water", "kind": "single", "classes": ["Water"], "absent": []}


def dataset_with(root: Path, *lines: str) -> Dataset:
    dataset = Dataset(root)
    dataset.shards.mkdir(parents=True)
    dataset.queries.write_text("\n".join(lines))
    return dataset


def test_reads_queries_in_file_order(tmp_path: Path) -> None:
    negation = {"id": "b", "text": "no crops", "kind": "negation", "absent": ["Crops"]}
    other = {**GOOD, "id": "c", "kind": "paraphrase", "paraphrase_of": "a"}
    queries = read_queries(dataset_with(tmp_path, *map(json.dumps, (GOOD, negation, other)), ""))
    assert [query.id for query in queries] == ["a", "b", "c"]
    assert queries[0].wanted_mask == bit("Water")
    assert queries[1].wanted_mask == 0
    assert queries[1].absent_mask == bit("Crops")
    assert queries[2].paraphrase_of == "a"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2: is not JSON"),
        ("[1]", "line 2: is not a JSON object"),
        (json.dumps({**GOOD, "id": 3}), "line 2: field id"),
        (json.dumps({**GOOD, "classes": "Water"}), "line 2: field classes"),
        (json.dumps({**GOOD, "classes": ["Sea"]}), "line 2: unknown class 'Sea'"),
        (json.dumps({**GOOD, "classes": []}), "line 2: .*both empty"),
        (json.dumps(GOOD), "1 query ids occur twice"),
    ],
)
def test_a_damaged_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_queries(dataset_with(tmp_path, json.dumps(GOOD), line))


def test_missing_and_empty_files_say_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="landmark harmonize"):
        read_queries(Dataset(tmp_path))
    with pytest.raises(InputError, match="holds no query"):
        read_queries(dataset_with(tmp_path, ""))
