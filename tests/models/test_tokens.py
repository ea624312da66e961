from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from byom.types.tokens import estimate_messages, estimate_tokens

ABSTRACTS = Path(__file__).parents[3] / "shared" / "data" / "uist_abstracts_210.csv"


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        # Counted with o200k_base.
        ("The quick brown fox jumps over the lazy dog.", 10),
        ("def add(a: int, b: int) -> int:\n    return a + b\n", 19),
        ('{"id": 17, "name": "Anna", "tags": ["a", "b"]}', 22),
        ("人人生而自由,在尊严和权利上一律平等。", 16),
        ("Die Würde des Menschen ist unantastbar.", 11),
    ],
)
def test_the_estimate_is_within_a_third_for_short_texts(text: str, tokens: int) -> None:
    assert tokens * 0.66 <= estimate_tokens(text) <= tokens * 1.34


def test_the_estimate_is_within_five_percent_for_english_prose() -> None:
    if not ABSTRACTS.exists():
        pytest.skip(f"{ABSTRACTS} is not there")
    with ABSTRACTS.open(newline="") as file:
        rows = list(csv.DictReader(file))
    column = max(rows[0], key=lambda name: sum(len(row[name] or "") for row in rows))
    estimate = sum(estimate_tokens(row[column]) for row in rows)
    assert abs(estimate / ABSTRACT_TOKENS - 1) < 0.05


ABSTRACT_TOKENS = 38_998
"""All abstracts, counted with o200k_base."""


@given(st.text())
def test_no_text_is_nothing_and_any_text_is_something(text: str) -> None:
    assert (estimate_tokens(text) == 0) == (text == "")


def test_a_long_text_is_estimated_from_parts_of_it() -> None:
    text = "A sentence of some words, and a number 12345.\n" * 200
    assert estimate_tokens(text * 50) == pytest.approx(estimate_tokens(text) * 50, rel=0.03)


def test_messages_count_texts_pictures_tool_calls_and_their_frame() -> None:
    plain = [{"role": "user", "content": "hello"}]
    picture = [{"role": "user", "content": [{"type": "text", "text": "hello"}, {"type": "image_url", "image_url": {}}]}]
    call = [{"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}]
    assert estimate_messages([]) == 3
    assert 5 <= estimate_messages(plain) <= 10
    assert estimate_messages(picture) > estimate_messages(plain) + 100
    assert estimate_messages(call) > estimate_messages([{"role": "assistant", "content": None}])
