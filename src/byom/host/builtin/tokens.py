"""The tokenizer of the built-in models.

A token is a word (a run of letters, digits, marks and underscores, with inner apostrophes), one character of a
script that is written without spaces (Han, kana, Thai and similar), or one other visible character. White space
is not counted. Usage figures are exactly ``count_tokens`` of the texts: message frames and roles cost nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import islice

# Han with extensions, kana, Bopomofo, Thai, Lao, Myanmar, Khmer.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3021-\u3029\u3041-\u3096\u309d-\u309f\u30a1-\u30fa"
    "\u30fc-\u30ff\u3105-\u312f\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f"
    "\U00020000-\U0003ffff"
)
_WORD = rf"(?:(?![{_UNSPACED}])\w)+"
_TOKEN = re.compile(rf"{_WORD}(?:['’]{_WORD})*|\S")  # noqa: RUF001
_CHECK_EVERY = 10_000
_VISIBLE = re.compile(r"\S")
UNSPACED = re.compile(f"[{_UNSPACED}]")


def tokens(text: str) -> list[str]:
    """The tokens of a text, in order."""
    # Not findall: it would hold the interpreter for as long as a long text takes.
    return [match.group() for match in _TOKEN.finditer(text)]


def count_tokens(text: str, check: Callable[[], None] | None = None) -> int:
    """How many tokens a text has. ``check`` is called now and then and ends the count by raising."""
    found = _TOKEN.finditer(text)
    total = 0
    while counted := sum(1 for _ in islice(found, _CHECK_EVERY)):
        total += counted
        if check is not None:
            check()
    return total


def words(text: str) -> list[str]:
    """The tokens that say something: case-folded words and characters, without punctuation."""
    return [token.casefold() for token in tokens(text) if token[0].isalnum()]


def pieces(text: str) -> Iterator[str]:
    """One piece a token, each with the space before it; joined, the pieces are the text."""
    start = 0
    for match in _TOKEN.finditer(text):
        if start:
            yield text[start : match.start()] + match.group()
        else:
            yield text[: match.end()]
        start = match.end()


def first_tokens(text: str, limit: int) -> tuple[str, bool]:
    """The text up to its ``limit``-th token, and whether something was cut off. Never cuts within a word."""
    if limit <= 0:
        return "", bool(_VISIBLE.search(text))
    found = list(islice(_TOKEN.finditer(text), limit + 1))
    return (text[: found[limit - 1].end()], True) if len(found) > limit else (text, False)
