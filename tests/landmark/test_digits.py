"""Digits of strangers: what Python itself would stumble over is no number."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from landmark.digits import whole_number


@given(st.integers(0, 10**18 - 1))
def test_plain_digits_are_numbers(number: int) -> None:
    assert whole_number(str(number)) == number


@pytest.mark.parametrize("text", ["", "²", "٣", "-1", "+1", " 1", "1.0", "1_0", "9" * 19])
def test_all_else_is_none(text: str) -> None:
    assert whole_number(text) is None


@given(st.text())
@example("1" * 5000)
def test_any_text_is_answered(text: str) -> None:
    number = whole_number(text)
    assert number is None or (number >= 0 and text.lstrip("0") in (str(number), ""))
