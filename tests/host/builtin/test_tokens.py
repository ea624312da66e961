"""The tokenizer and the sentence splitter of the built-in models."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from byom.host.builtin.sentences import sentences
from byom.host.builtin.tokens import count_tokens, first_tokens, pieces, tokens

DOCTOR = ["Dr. Smith paid 3.50 to J. Doe, i.e. to him.", "Then he left."]
OUTLINE = ["Title", "Text here that goes on.", "one item", "two items"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("It's 3.5 km!", ["It's", "3", ".", "5", "km", "!"]),
        ("Übergröße naïve", ["Übergröße", "naïve"]),
        ("東京は大きい。", ["東", "京", "は", "大", "き", "い", "。"]),
        ("한국어 문장", ["한국어", "문장"]),
        ("GPT模型2", ["GPT", "模", "型", "2"]),
        ("  \n\t ", []),
    ],
)
def test_tokens_are_words_unspaced_characters_and_marks(text, found):
    assert tokens(text) == found
    assert count_tokens(text) == len(found)


@given(st.text())
def test_the_pieces_of_a_text_are_as_many_as_its_tokens(text):
    assert len(list(pieces(text))) == count_tokens(text)


@given(st.text(min_size=1))
def test_joined_pieces_are_the_text_but_for_space_at_its_end(text):
    assert text.startswith("".join(pieces(text)))
    assert not text[len("".join(pieces(text))) :].strip()


@given(st.text(), st.integers(0, 30))
def test_a_cut_text_has_exactly_as_many_tokens_as_allowed(text, limit):
    cut, was_cut = first_tokens(text, limit)
    assert text.startswith(cut)
    assert count_tokens(cut) == min(limit, count_tokens(text))
    assert was_cut is (count_tokens(text) > limit)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"]),
        ("Dr. Smith paid 3.50 to J. Doe, i.e. to him. Then he left.", DOCTOR),
        ('He said "Stop." Then he ran.', ['He said "Stop."', "Then he ran."]),
        ("今日は晴れです。明日は雨でしょう！本当？", ["今日は晴れです。", "明日は雨でしょう！", "本当？"]),  # noqa: RUF001
        ("यह पहला है। यह दूसरा है।", ["यह पहला है।", "यह दूसरा है।"]),
        ("Wait... what is it? Go on.", ["Wait... what is it?", "Go on."]),
        ("# Title\nText here\nthat goes on.\n\n- one item\n- two items", OUTLINE),
        ("Summarise this:\nThe text.", ["Summarise this:", "The text."]),
        ("", []),
        ("...!!!", []),
    ],
)
def test_sentences_end_where_a_reader_sees_them_end(text, found):
    assert sentences(text) == found


@given(st.text(alphabet="ab .!?。\n:-\"'", max_size=200))
def test_no_letter_is_lost_between_sentences(text):
    def letters(given_text: str) -> str:
        return "".join(char for char in given_text if char.isalnum())

    assert letters("".join(sentences(text))) == letters(text)
