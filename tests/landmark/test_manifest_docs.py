from __future__ import annotations

import json
from pathlib import Path

from landmark import manifest_docs
from landmark.manifest import Manifest

DOCS = Path(__file__).parents[2] / "docs"


def test_the_committed_reference_is_current() -> None:
    advice = "run: python -m landmark.manifest_docs docs/"
    assert (DOCS / "manifest.md").read_text() == manifest_docs.reference(), advice
    assert (DOCS / "manifest.schema.json").read_text() == manifest_docs.schema(), advice


def test_every_field_is_described() -> None:
    text = manifest_docs.reference()
    for model, _ in manifest_docs._models():
        for name, field in model.model_fields.items():
            assert field.description, f"{model.__name__}.{name}"
            assert f"| `{name}` |" in text


def test_the_schema_refuses_unknown_keys() -> None:
    schema = json.loads(manifest_docs.schema())
    assert set(schema["properties"]) == set(Manifest.model_fields)
    assert all(part["additionalProperties"] is False for part in schema["$defs"].values())
