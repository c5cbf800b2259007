from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from baselines.recipes import RECIPES, Recipe, parse_settings, resolve
from landmark.errors import InputError


def test_every_field_says_what_it_is() -> None:
    assert all(field.description for field in Recipe.model_fields.values())


def test_the_page_on_training_lists_every_field_and_recipe() -> None:
    page = (Path(__file__).parents[2] / "docs" / "training.md").read_text(encoding="utf-8")
    for name, field in Recipe.model_fields.items():
        default = "-" if field.is_required() else f"`{field.default}`"
        assert f"| `{name}` | {default} | {field.description} |" in page
    assert all(f"| `{name}`" in page for name in RECIPES)


def test_given_options_change_a_recipe_and_none_does_not() -> None:
    changed = resolve("clip", epochs=3, seed=None)
    assert changed == RECIPES["clip"].model_copy(update={"epochs": 3})


def test_a_misspelt_recipe_names_the_nearest() -> None:
    with pytest.raises(InputError, match="unknown recipe 'multilable'; did you mean 'multilabel'"):
        resolve("multilable")


def test_a_value_out_of_range_names_the_field() -> None:
    with pytest.raises(InputError, match=r"recipe clip: epochs: .*greater than or equal to 0"):
        resolve("clip", epochs=-1)


def test_recipes_are_listed_without_torch() -> None:
    code = "import sys, baselines.recipes; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_settings_are_read_as_yaml_and_numbers_as_people_write_them() -> None:
    given = parse_settings(["lr=1e-4", "pooling=cls", "train_text=true", "subcaptions=8"])
    assert given == {"lr": 1e-4, "pooling": "cls", "train_text": True, "subcaptions": 8}
    with pytest.raises(InputError, match="--set pooling: give FIELD=VALUE"):
        parse_settings(["pooling"])


def test_an_unknown_field_names_the_nearest() -> None:
    with pytest.raises(InputError, match="there is no field 'poling'; did you mean 'pooling'"):
        resolve("clip", poling="cls")


@pytest.mark.parametrize(
    ("recipe", "fields", "message"),
    [
        ("multilabel", {"location_weight": 1}, "location_weight needs a contrastive objective"),
        ("concepts", {"hard_negatives": 4}, "hard_negatives needs a contrastive objective"),
        ("clip", {"subcaptions": 4}, "subcaptions belong to containment and concepts, not clip"),
        ("concepts", {"train_text": True}, "train_text needs a contrastive objective"),
    ],
)
def test_fields_that_do_not_go_together_are_refused(
    recipe: str, fields: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        resolve(recipe, **fields)
