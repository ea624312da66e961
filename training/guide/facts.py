"""What the model is taught: facts with answers, patterns of their questions, and what lies outside."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

from .grammar import Grammar, Pattern

HERE = Path(__file__).parent
CODE = re.compile(r"`([^`]+)`")
OUTSIDE = "outside"
"""The fact that stands for everything that is not about BYOM."""


@dataclass(frozen=True)
class Fact:
    """One thing to know: `answers` are equally good, `needs` are the texts that a useful answer holds."""

    name: str
    answers: tuple[str, ...]
    needs: tuple[str, ...]
    questions: tuple[Pattern, ...]
    topics: tuple[Pattern, ...]

    @property
    def code(self) -> frozenset[str]:
        """Everything between backticks in the answers: commands, settings, paths."""
        return frozenset(found for answer in self.answers for found in CODE.findall(answer))


@dataclass(frozen=True)
class Held:
    """A held-out question, and the facts of which any answers it."""

    question: str
    facts: tuple[str, ...]


def grammar() -> Grammar:
    """The lists of words.toml."""
    return Grammar(tomllib.loads((HERE / "words.toml").read_text(encoding="utf-8")))


def load() -> dict[str, Fact]:
    """All facts by name, in the order of their files."""
    rules = grammar()
    more = tomllib.loads((HERE / "more_questions.toml").read_text(encoding="utf-8"))
    found: dict[str, Fact] = {}
    for path in sorted((HERE / "facts").glob("*.toml")):
        for name, entry in tomllib.loads(path.read_text(encoding="utf-8")).items():
            if name in found:
                raise ValueError(f"{path.name}: the fact {name} is there twice")
            answers = (entry["answer"], *entry.get("also", []))
            found[name] = Fact(
                name,
                answers,
                tuple(entry["needs"]),
                tuple(rules.parse(text) for text in (*entry["ask"], *more.pop(name, []))),
                tuple(rules.parse(text) for text in entry.get("topics", [])),
            )
            missing = [(need, answer) for need in entry["needs"] for answer in answers if not holds(answer, need)]
            if missing:
                raise ValueError(f"{path.name}: {name} lacks {missing[0]}")
    if more:
        raise ValueError(f"more_questions.toml: there is no fact {', '.join(more)}")
    return found


def holds(answer: str, need: str) -> bool:
    """Whether the answer has the text, in any case; `a|b` asks for one of both."""
    return any(choice.casefold() in answer.casefold() for choice in need.split("|"))


def held_out(part: str) -> list[Held]:
    """The questions of `questions/<part>.toml` (`dev`, `test`): written by hand, never trained on."""
    text = (HERE / "questions" / f"{part}.toml").read_text(encoding="utf-8")
    found = []
    for names, questions in tomllib.loads(text).items():
        found += [Held(question, tuple(names.split("|"))) for question in questions]
    return found


def plain(question: str) -> str:
    """A question as the chat template gives it to the model: in small letters, without outer blanks."""
    return question.lower().strip()
