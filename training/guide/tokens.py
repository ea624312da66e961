"""The tokenizer: byte-level BPE with GPT-2's way of cutting words, which llama.cpp has as `gpt-2`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

BEGIN, END, USER, GUIDE, PAD = "<|begin|>", "<|end|>", "<|user|>", "<|guide|>", "<|pad|>"
SPECIAL = (BEGIN, END, USER, GUIDE, PAD)
VOCABULARY = 2048


def learn(texts: Iterable[str], size: int = VOCABULARY) -> Tokenizer:
    """A tokenizer of `size` tokens; the special ones come first, then the 256 bytes, then merges."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=list(SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def turn(tokenizer: Tokenizer, question: str, answer: str) -> tuple[list[int], list[int]]:
    """Ids up to and with the mark after which the model speaks, and those of the answer with its end."""
    ask = [tokenizer.token_to_id(USER), *ids(tokenizer, question), tokenizer.token_to_id(GUIDE)]
    return ask, [*ids(tokenizer, answer), tokenizer.token_to_id(END)]


def ids(tokenizer: Tokenizer, text: str) -> list[int]:
    """Ids of plain text: marks such as `<|user|>` in it are text like any other."""
    return list(tokenizer.encode(text, add_special_tokens=False).ids)


def load(path: Path) -> Tokenizer:
    """The tokenizer that `learn` made, from its JSON file."""
    return Tokenizer.from_file(str(path))
