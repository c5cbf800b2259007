from __future__ import annotations

import subprocess
import sys

import pytest

from baselines.recipes import RECIPES, Recipe, resolve
from landmark.errors import InputError


def test_every_field_says_what_it_is() -> None:
    assert all(field.description for field in Recipe.model_fields.values())


def test_given_options_change_a_recipe_and_none_does_not() -> None:
    changed = resolve("clip", epochs=3, seed=None)
    assert changed == RECIPES["clip"].model_copy(update={"epochs": 3})


def test_a_misspelt_recipe_names_the_nearest() -> None:
    with pytest.raises(InputError, match="unknown recipe 'multilable'; did you mean 'multilabel'"):
        resolve("multilable")


def test_a_value_out_of_range_names_the_field() -> None:
    with pytest.raises(InputError, match=r"recipe clip: epochs: .*greater than or equal to 1"):
        resolve("clip", epochs=0)


def test_recipes_are_listed_without_torch() -> None:
    code = "import sys, baselines.recipes; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
