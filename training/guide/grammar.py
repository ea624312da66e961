"""Questions from patterns: `@word` stands for any phrase of a list, `(a|b)` for a choice; both nest."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

TOKEN = re.compile(r"@[a-z_]+|[()|]|[^@()|]+")


class PatternError(ValueError):
    """A pattern has an unknown `@word`, or a bracket that does not close."""


@dataclass(frozen=True)
class Pattern:
    """A choice of sequences of texts and further patterns."""

    choices: tuple[tuple[str | Pattern, ...], ...]

    def sample(self, random: np.random.Generator) -> str:
        """One text of the pattern, with single spaces; every choice is equally likely."""
        return " ".join(self._pieces(random).split())

    def count(self) -> int:
        """How many texts the pattern stands for (equal ones counted as often as they can be made)."""
        total = 0
        for choice in self.choices:
            ways = 1
            for part in choice:
                ways *= part.count() if isinstance(part, Pattern) else 1
            total += ways
        return total

    def expression(self) -> str:
        """A regular expression for the texts of the pattern, all blanks left out."""
        return "(?:" + "|".join("".join(map(_expression, choice)) for choice in self.choices) + ")"

    def _pieces(self, random: np.random.Generator) -> str:
        choice = self.choices[int(random.integers(len(self.choices)))]
        return "".join(part._pieces(random) if isinstance(part, Pattern) else part for part in choice)


def _expression(part: str | Pattern) -> str:
    return part.expression() if isinstance(part, Pattern) else re.escape("".join(part.split()))


class Grammar:
    """Lists of phrases by name; a phrase may itself be a pattern that uses lists defined before it."""

    def __init__(self, words: Mapping[str, Sequence[str]]) -> None:
        self._words: dict[str, Pattern] = {}
        for name, phrases in words.items():
            self._words[name] = Pattern(tuple((self.parse(phrase),) for phrase in phrases))

    def parse(self, text: str) -> Pattern:
        """The pattern of a text; `PatternError` says what is wrong with it."""
        tokens = TOKEN.findall(text)
        pattern, end = self._parse(tokens, 0)
        if end != len(tokens):
            raise PatternError(f"a ) too many in {text!r}")
        return pattern

    def _parse(self, tokens: list[str], at: int, depth: int = 0) -> tuple[Pattern, int]:
        choices: list[tuple[str | Pattern, ...]] = []
        parts: list[str | Pattern] = []
        while at < len(tokens):
            piece = tokens[at]
            at += 1
            if piece == ")":
                if depth == 0:
                    return Pattern((*choices, tuple(parts))), at - 1
                return Pattern((*choices, tuple(parts))), at
            if piece == "(":
                inner, at = self._parse(tokens, at, depth + 1)
                parts.append(inner)
            elif piece == "|":
                choices.append(tuple(parts))
                parts = []
            elif piece.startswith("@"):
                if piece[1:] not in self._words:
                    raise PatternError(f"{piece} is not in words.toml")
                parts.append(self._words[piece[1:]])
            else:
                parts.append(piece)
        if depth:
            raise PatternError(f"a ( does not close in {''.join(tokens)!r}")
        return Pattern((*choices, tuple(parts))), at
