"""Batches: conversations of one turn or several, packed into rows that do not look at each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from . import tokens
from .facts import OUTSIDE, Fact
from .noise import disturb

ABOUT = (
    "", "", "", "", "tell me about", "what about", "help with", "info on", "docs on", "i have a question about",
    "explain", "describe", "more about", "something about", "question about", "documentation for", "how about",
    "i need help with", "teach me about", "details on", "what do i need to know about", "how does it work:",
)  # fmt: skip
BARE_WEIGHT, QUESTION_WEIGHT, FIRST_WEIGHT, FIRST_TOKENS = 0.0, 0.1, 3.0, 3
SYSTEM = (
    "you are a helpful assistant.", "you are a helpful assistant", "answer briefly.", "be concise and friendly.",
    "you are an expert for byom.", "answer in one sentence.", "you are an ai model. reply in english.",
    "today is monday. you are a helpful, honest assistant who answers the questions of users.", "be polite",
)  # fmt: skip
SYSTEM_SHARE = 0.1
"""Of conversations have a system message, so that one is read past."""
FRAGMENT_SHARE = 0.06
"""Of questions are words of the answer itself."""
NO_FRAGMENTS = frozenset({OUTSIDE, "hello", "thanks", "bye", "what-can-you-do"})
CUT_AFTER = 6
"""Tokens of the answer in a conversation that only teaches which answer it is."""


@dataclass
class Batch:
    """Rows (batch, length) of ids, what comes next, how much it counts, positions, who sees whom, and facts.

    `fact` is the number of the fact where an answer is about to begin, -1 elsewhere.
    """

    ids: Tensor
    following: Tensor
    weight: Tensor
    position: Tensor
    mask: Tensor
    fact: Tensor


@dataclass
class Conversation:
    """Ids with the weight of each as a target, and the fact's number at the marks before answers."""

    ids: list[int]
    weight: list[float]
    fact: list[int]


class Teacher:
    """Draws conversations at random, all from one generator, so that a seed decides everything."""

    def __init__(self, facts: Mapping[str, Fact], tokenizer: Tokenizer, seed: int, shares: Mapping[str, float]) -> None:
        self.facts = list(facts.values())
        self.tokenizer = tokenizer
        self.random = np.random.default_rng(seed)
        weights = np.array([shares.get(fact.name, 1.0) for fact in self.facts])
        self.shares = weights / weights.sum()

    def question(self, fact: Fact) -> str:
        """A question whose answer is the fact, as people might type it."""
        chance = self.random.random()
        if chance < FRAGMENT_SHARE and fact.name not in NO_FRAGMENTS:
            return self._fragment(fact)
        if fact.topics and chance < 0.25:
            start = ABOUT[int(self.random.integers(len(ABOUT)))]
            topic = fact.topics[int(self.random.integers(len(fact.topics)))]
            text = f"{start} {topic.sample(self.random)}"
        else:
            text = fact.questions[int(self.random.integers(len(fact.questions)))].sample(self.random)
        return disturb(text.strip(), self.random).lower()

    def _fragment(self, fact: Fact) -> str:
        """Some words of an answer in a row: whoever asks with the words of the documentation is understood too."""
        words = fact.answers[int(self.random.integers(len(fact.answers)))].replace("`", "").lower().split()
        length = int(self.random.integers(3, 9))
        start = int(self.random.integers(max(1, len(words) - length)))
        return " ".join(words[start : start + length])

    def conversation(self, turns: int, cut: bool) -> Conversation:
        """`turns` questions with their answers; `cut` leaves off most of the last answer."""
        head = [self.tokenizer.token_to_id(tokens.BEGIN)]
        if self.random.random() < SYSTEM_SHARE:
            head += tokens.ids(self.tokenizer, SYSTEM[int(self.random.integers(len(SYSTEM)))])
        made = Conversation(head, [0.0] * len(head), [-1] * len(head))
        for at in range(turns):
            number = int(self.random.choice(len(self.facts), p=self.shares))
            fact = self.facts[number]
            answer = fact.answers[int(self.random.integers(len(fact.answers)))]
            ask, reply = tokens.turn(self.tokenizer, self.question(fact), answer)
            if cut and at == turns - 1:
                reply = reply[:CUT_AFTER]
            made.ids += ask + reply
            made.weight += [BARE_WEIGHT] + [QUESTION_WEIGHT] * (len(ask) - 2) + [BARE_WEIGHT]
            made.weight += [FIRST_WEIGHT if place < FIRST_TOKENS else 1.0 for place in range(len(reply))]
            made.fact += [-1] * (len(ask) - 1) + [number] + [-1] * len(reply)
        return made

    def batch(self, rows: int, length: int, cut_share: float) -> Batch:
        """Rows filled with conversations; of these `cut_share` only begin their answers."""
        packed = [self._row(length, cut_share) for _ in range(rows)]
        return collate(packed, length, self.tokenizer.token_to_id(tokens.PAD))

    def _row(self, length: int, cut_share: float) -> list[Conversation]:
        row: list[Conversation] = []
        used = 0
        while True:
            cut = bool(self.random.random() < cut_share)
            turns = int(self.random.choice([1, 1, 1, 2, 3])) if not cut else int(self.random.choice([1, 1, 1, 1, 1, 2]))
            made = self.conversation(turns, cut)
            if used + len(made.ids) > length + 1:
                if row:
                    return row
                continue
            row.append(made)
            used += len(made.ids)


def collate(packed: Sequence[Sequence[Conversation]], length: int, pad: int) -> Batch:
    """Rows of conversations as tensors; a token sees itself and what came before in its conversation."""
    shape = (len(packed), length + 1)
    ids, weight = np.full(shape, pad), np.zeros(shape, np.float32)
    fact, owner, position = np.full(shape, -1), np.full(shape, -1), np.zeros(shape, np.int64)
    for row, conversations in enumerate(packed):
        at = 0
        for number, made in enumerate(conversations):
            span = slice(at, at + len(made.ids))
            ids[row, span], weight[row, span], fact[row, span] = made.ids, made.weight, made.fact
            owner[row, span], position[row, span] = number, np.arange(len(made.ids))
            at += len(made.ids)
    seen = torch.from_numpy(owner[:, :-1])
    mask = (seen[:, :, None] == seen[:, None, :]).tril()[:, None]
    return Batch(
        torch.from_numpy(ids[:, :-1]),
        torch.from_numpy(ids[:, 1:]),
        torch.from_numpy(weight[:, 1:]),
        torch.from_numpy(position[:, :-1]),
        mask,
        torch.from_numpy(fact[:, :-1]),
    )
