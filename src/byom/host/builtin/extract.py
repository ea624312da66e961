"""What the extractive model says: the most central sentences, in the order in which they stood."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from byom.host.builtin.centrality import rank
from byom.host.builtin.sentences import each_sentence
from byom.host.builtin.tokens import UNSPACED, words

INTRODUCTION = (
    "I am BYOM's built-in extractive model: I answer with the most central sentences of a text that you give me, "
    "and there is not enough text here to extract from."
)
_CHECK_EVERY = 64
_MIN_WEIGHT = 4.0
_MIN_SINGLE_WEIGHT = 12.0
_MAX_WEIGHT = 120.0
"""Longer "sentences" are tables, code or data; they are taken only where there is nothing else."""
_MAX_SENTENCES = 5
_SHARE = 0.25
_QUESTION_ENDS = ("?", "？", "؟", "?”", '?"', "?)")  # noqa: RUF001


@dataclass(frozen=True, slots=True)
class Extract:
    """``found`` is empty where there was nothing to extract from."""

    found: tuple[str, ...]

    @property
    def text(self) -> str:
        return join(self.found) if self.found else INTRODUCTION


def extract(texts: Sequence[str], check: Callable[[], None]) -> Extract:
    """The central sentences of what the user has said; questions and lead-ins ask, and are not answers."""
    candidates: list[str] = []
    asked: list[str] = []
    seen: set[str] = set()
    for number, sentence in enumerate(each for text in texts for each in each_sentence(text)):
        if number % _CHECK_EVERY == 0:
            check()
        if sentence.endswith((*_QUESTION_ENDS, ":", "：")):  # noqa: RUF001
            asked.append(sentence)
        elif sentence not in seen and _weight(sentence) >= _MIN_WEIGHT:
            seen.add(sentence)
            candidates.append(sentence)
    candidates = [each for each in candidates if _weight(each) <= _MAX_WEIGHT] or candidates
    if not candidates or (len(candidates) == 1 and _weight(candidates[0]) < _MIN_SINGLE_WEIGHT):
        return Extract(())
    count = min(_MAX_SENTENCES, max(1, math.ceil(len(candidates) * _SHARE)))
    best = rank(candidates, " ".join(asked[-3:]), check)[:count]
    return Extract(tuple(candidates[position] for position in sorted(best)))


def join(found: Sequence[str]) -> str:
    """Sentences put together: with a space between, but for scripts that have none."""
    text = ""
    for sentence in found:
        unspaced = bool(text) and bool(UNSPACED.match(sentence)) and text[-1] in "。！？｡．」』）】》"  # noqa: RUF001
        text += sentence if not text or unspaced else f" {sentence}"
    return text


def _weight(sentence: str) -> float:
    """About how many words a sentence has; characters of scripts without spaces are half a word."""
    return sum(0.5 if UNSPACED.match(word) else 1.0 for word in words(sentence))
