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
CONTEXT = (
    "i just installed it.", "we are a small team.", "my boss asked me:", "there is a problem.", "i have a server.",
    "in a few words,", "for our company,", "on my machine,", "as a beginner,", "on a shared server,",
    "one of our users asks:", "i read the docs but:", "we use it at work.", "from now on,", "at the moment,",
    "for a project,", "in our network,", "just to be sure:", "i am not sure,", "another question.", "next,",
    "suppose i am an admin.", "in short,", "honestly,",
)  # fmt: skip
ENDING = (
    ", what now?", ". what now?", ". how?", ", how?", ". how do i do that?", ", how do i do that?",
    ", what should i do?", ". what do i do?", ". is that possible?",
    ", can you help?", ". what is the command?", ". any idea?",
    ". why?", ". where do i look?", ", is there a command?", ". can byom do that?", ". what do i type?",
)  # fmt: skip
PLAIN_WORDS = frozenset((
    "how", "do", "i", "can", "what", "is", "the", "a", "an", "to", "of", "for", "in", "with", "my", "our", "it",
    "which", "does", "are", "on", "be", "me", "you", "we", "would", "should", "this", "that", "there", "have", "has",
    "and", "or", "from", "by", "at", "so", "any", "some", "when", "if", "will",
))  # fmt: skip
"""Words that say little: some questions come without them, so that the others are learnt to decide."""
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
    """The question as somebody might type it; nearly half of them stay almost as they are."""
    chance = random.random(8)
    words = _fewer(question.split(), float(chance[0]), random)
    if chance[1] < 0.12 and len(words) > 2:
        at = int(random.integers(len(words) - 1))
        words[at], words[at + 1] = words[at + 1], words[at]
    elif chance[1] > 0.93:
        words = [words[at] for at in random.permutation(len(words))]
    words = [_word(word, random) for word in words]
    if chance[2] < 0.15:
        words.insert(int(random.integers(len(words) + 1)), FILLERS[int(random.integers(len(FILLERS)))])
    if chance[3] < 0.05 and len(words) > 3:
        words.insert(int(random.integers(len(words) + 1)), unknown(random))
    if chance[4] < 0.25:
        before = BEFORE if chance[4] < 0.13 else CONTEXT
        words.insert(0, before[int(random.integers(len(before)))])
    text = " ".join(words)
    if chance[5] < 0.1 and len(words) > 3:
        text = text.rstrip("?!.") + ENDING[int(random.integers(len(ENDING)))]
    elif chance[5] < 0.75 and text[-1:] not in ("?", "!", "."):
        end = AFTER[int(random.integers(len(AFTER)))]
        text += end if end[0] in "?.!" else f" {end}"
    if chance[6] < 0.1:
        text = text.replace("'", "").replace(",", "")
    return text.strip()


def _fewer(words: list[str], chance: float, random: np.random.Generator) -> list[str]:
    """Some questions lose the words that say little, some lose any words."""
    if chance < 0.15:
        kept = [word for word in words if word not in PLAIN_WORDS]
    elif chance < 0.5 and len(words) > 3:
        share = 0.1 if chance < 0.38 else 0.25
        kept = [word for word in words if random.random() > share]
    else:
        return words
    return kept if len(kept) > 1 else words


def _word(word: str, random: np.random.Generator) -> str:
    if len(word) > KEEP_SHORT and word.isalpha() and random.random() < 0.02:
        return typo(word, random)
    return word
