"""Cuts text into sentences, in any script.

A sentence ends at a full stop, question or exclamation mark (with closing quotes), at the ideographic ones
without a space after them, at a blank line, and before a list item or heading. Abbreviations, initials and
decimal numbers do not end one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_LINE = re.compile(r"\r\n?|\n")
_CLOSING = "\"'”’»›)\\]」』）】》"  # noqa: RUF001
_STOPS = ".!?…؟۔।"  # noqa: RUF001
# Possessive, and only from the first mark of a run: a long run of marks must not take quadratic time.
_END = re.compile(rf"(?<![{_STOPS}])[{_STOPS}]++[{_CLOSING}]*+(?=\s|$)|[。！？｡．]++[{_CLOSING}]*+")  # noqa: RUF001
_MARKER = re.compile(r"\s*(?:[-*•>|]{1,6}|#{1,6}|\d{1,3}[.)])\s+")
_SPACE = re.compile(r"\s+")
_LAST_WORD = re.compile(r"([\w.]{1,12})\.$")
_ABBREVIATIONS = frozenset(
    {"al", "approx", "ca", "cf", "dr", "dept", "e.g", "ed", "eds", "eq", "etc", "fig", "figs", "i.e", "inc", "jr"}
    | {"ltd", "mr", "mrs", "ms", "no", "nos", "p", "pp", "prof", "resp", "sec", "sr", "st", "vol", "vs", "z.b", "bzw"}
)


def sentences(text: str) -> list[str]:
    """The sentences of a text, in order, with inner white space made single."""
    return list(each_sentence(text))


def each_sentence(text: str) -> Iterator[str]:
    """`sentences`, one at a time."""
    for paragraph in _paragraphs(text):
        start = 0
        for match in _END.finditer(paragraph):
            if match.end() == len(paragraph) or _ends(paragraph, start, match):
                yield from _clean(paragraph[start : match.end()])
                start = match.end()
        yield from _clean(paragraph[start:])


def _paragraphs(text: str) -> Iterator[str]:
    """Lines put together, but for blank ones, list items, headings, and lines after a lead-in ("…:")."""
    together: list[str] = []
    for line in _LINE.split(text):
        if not line.strip() or _MARKER.match(line):
            yield " ".join(together)
            together = []
        together.append(line)
        if line.lstrip().startswith("#") or line.rstrip().endswith((":", "：")):  # noqa: RUF001
            yield " ".join(together)
            together = []
    yield " ".join(together)


def _ends(paragraph: str, start: int, match: re.Match[str]) -> bool:
    if match.group() != ".":
        return match.group()[0] not in ".…" or not _continues(paragraph, match.end())
    last = _LAST_WORD.search(paragraph, max(start, match.end() - 13), match.end())
    word = last.group(1) if last is not None else ""
    if word.lower() in _ABBREVIATIONS or (len(word) == 1 and word.isupper()):
        return False
    return not _continues(paragraph, match.end())


def _continues(paragraph: str, position: int) -> bool:
    """Whether the next word begins with a small letter: then what came before was no end."""
    for char in paragraph[position : position + 8]:
        if char.isalpha():
            return char.islower()
    return False


def _clean(sentence: str) -> Iterator[str]:
    marker = _MARKER.match(sentence)
    shown = _SPACE.sub(" ", sentence[marker.end() :] if marker else sentence).strip()
    if any(char.isalnum() for char in shown):
        yield shown
