"""Ways in which people write a question: greetings, fillers, words left out, typing mistakes, unknown words."""

from __future__ import annotations

import numpy as np

BEFORE = (
    "hi,", "hello,", "hey,", "please,", "quick question:", "ok,", "so,", "and", "well,", "sorry,", "i am new here.",
    "in byom,", "with byom,", "using byom,", "for byom:", "i wonder,", "question:", "excuse me,", "hi there!", "now,",
    "one more thing:", "tell me,", "do you know", "just curious,", "could you tell me", "can you explain", "also,",
)  # fmt: skip
AFTER = (
    "?", "?", "?", "?", "?", "?", "?", ".", "!", "??", "please", "please?", "in byom?", "with byom?", "in byom",
    "thanks", "thanks!", "in this tool?", "exactly?", "now?", "again?", "here?", "using byom?", "for me?", "at all?",
)  # fmt: skip
FILLERS = (
    "really", "just", "actually", "exactly", "quickly", "easily", "simply", "also", "maybe", "now", "my", "our", "the",
    "a", "this", "that", "some", "new", "own", "single", "whole", "certain", "specific", "particular", "other", "only",
    "properly", "correctly", "best", "first", "today", "again", "currently", "usually", "always", "still", "even",
)  # fmt: skip
LETTERS = "abcdefghijklmnopqrstuvwxyz"
KEEP_SHORT = 4
"""Words up to so many letters are not misspelt: they would become other words."""


def typo(word: str, random: np.random.Generator) -> str:
    """The word with one letter left out, doubled, replaced or swapped with the next."""
    at = int(random.integers(1, len(word) - 1))
    kind = int(random.integers(4))
    if kind == 0:
        return word[:at] + word[at + 1 :]
    if kind == 1:
        return word[:at] + word[at] + word[at:]
    if kind == 2:
        return word[:at] + LETTERS[int(random.integers(26))] + word[at + 1 :]
    return word[:at] + word[at + 1] + word[at] + word[at + 2 :]


def unknown(random: np.random.Generator) -> str:
    """A word that means nothing, so that the model learns to read past words that it does not know."""
    length = int(random.integers(2, 9))
    return "".join(LETTERS[int(random.integers(26))] for _ in range(length))


def disturb(question: str, random: np.random.Generator) -> str:
    """The question as somebody might type it. About a third of them stay nearly as they are."""
    chance = random.random(6)
    words = question.split()
    if chance[0] < 0.6:
        words = [_word(word, random) for word in words if len(words) < 4 or random.random() > 0.03]
    if chance[1] < 0.15 and words:
        words.insert(int(random.integers(len(words) + 1)), FILLERS[int(random.integers(len(FILLERS)))])
    if chance[2] < 0.08 and len(words) > 3:
        words.insert(int(random.integers(len(words) + 1)), unknown(random))
    if chance[3] < 0.2:
        words.insert(0, BEFORE[int(random.integers(len(BEFORE)))])
    text = " ".join(words)
    if chance[4] < 0.7 and text[-1:] not in ("?", "!", "."):
        end = AFTER[int(random.integers(len(AFTER)))]
        text += end if end[0] in "?.!" else f" {end}"
    if chance[5] < 0.1:
        text = text.replace("'", "").replace(",", "")
    return text.strip()


def _word(word: str, random: np.random.Generator) -> str:
    if len(word) > KEEP_SHORT and word.isalpha() and random.random() < 0.04:
        return typo(word, random)
    return word
