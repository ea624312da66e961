"""Descriptors with comments."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from byom.host.plugins.loose_json import LooseJsonError, parse

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(VALUES, st.sampled_from([None, 2]))
def test_all_json_reads_as_json_does(value: Any, indent: int | None) -> None:
    assert parse(json.dumps(value, indent=indent)).value == value


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1, /* one */ "b": [1, 2,], // two\n}',
        '\ufeff// first\n{"a": 1, "b": [1, 2]}\n// last',
        '{"a": 1,/* a * b / c */"b": [1,\n2\n,\n]\n,}',
        '{/**/"a"/**/:/**/1/**/,/**/"b":[1,2]}/**/',
    ],
)
def test_comments_and_trailing_commas_are_no_mistake(text: str) -> None:
    assert parse(text).value == {"a": 1, "b": [1, 2]}


def test_what_looks_like_a_comment_inside_a_text_stays() -> None:
    assert parse('{"url": "http://x/*no*/", "b": "//"}').value == {"url": "http://x/*no*/", "b": "//"}


def test_every_value_knows_its_line() -> None:
    document = parse('{\n  // why\n  "params": [\n    {"name": "a"},\n    {\n      "name": 5\n    }\n  ]\n}')
    assert document.line("params", 1, "name") == 6
    assert document.line("params", 1, "missing") == 5
    assert document.line("nothing") == 1


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ('{\n"a": 1\n"b": 2}', 3, "a comma or } was expected"),
        ('{\n"a" 1}', 2, "a colon was expected after 'a'"),
        ("{\n\na: 1}", 3, 'a name in "quotes" was expected'),
        ('{"a": [1, 2}', 1, "a comma or ] was expected"),
        ('{"a": tru}', 1, "a value was expected, not 'tru}'"),
        ('{"a": 1', 1, "not the end"),
        ("", 1, "a value was expected, not the end"),
        ('{"a": 1} x', 1, "there is more after the end"),
        ('{"a": 1,\n/* never closed', 2, "a comment is not closed"),
        ('{"a": "x\n"}', 1, "a text is wrong"),
        ('{"a": 1,\n"a": 2}', 2, "'a' stands twice"),
        ("[1,,2]", 1, "a value was expected"),
        ("[,]", 1, "a value was expected"),
        ('{"a": 01}', 1, "a comma or } was expected"),
        ("[" * 10_000, 1, "nested too deeply"),
    ],
)
def test_a_mistake_has_its_line_and_its_kind(text: str, line: int, message: str) -> None:
    with pytest.raises(LooseJsonError) as caught:
        parse(text)
    assert message in caught.value.message
    assert caught.value.line == line


@given(st.text(alphabet='{}[]",:/*1a\\ \n'))
def test_any_text_gives_a_value_or_a_problem(text: str) -> None:
    with contextlib.suppress(LooseJsonError):
        parse(text)
