"""Checks that llama.cpp cuts texts into the tokens that were trained on: `python -m training.guide.check_tokens DIR`.

All answers, every held-out question, many questions from the patterns, and whole conversations by the chat template.
"""

from __future__ import annotations

import argparse
import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import xllamacpp

from . import tokens
from .batches import Teacher
from .facts import held_out, load, plain
from .train import SEED

QUESTIONS = 3000


def main() -> None:
    """Prints what differs and ends with 1, or how many texts were the same."""
    parser = argparse.ArgumentParser(description="Compare the tokens of llama.cpp with those of the training.")
    parser.add_argument("folder", type=Path, help="with guide.gguf and tokenizer.json")
    folder = parser.parse_args().folder
    tokenizer = tokens.load(folder / "tokenizer.json")
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(folder / "guide.gguf")
    parameters.n_ctx = 1024
    parameters.port = 0
    parameters.verbosity = -1
    server = xllamacpp.Server(parameters)
    address = server.listening_address
    different = count = 0
    for text in texts(tokenizer):
        count += 1
        theirs = ask(f"{address}/tokenize", {"content": text, "add_special": False})["tokens"]
        if theirs != tokens.ids(tokenizer, text):
            different += 1
            print(f"differs: {text!r}: {theirs} instead of {tokens.ids(tokenizer, text)}")
    for question, answer, follow_up in conversations():
        count += 1
        prompt = ask(f"{address}/apply-template", {"messages": messages(question, answer, follow_up)})["prompt"]
        theirs = ask(f"{address}/tokenize", {"content": prompt, "add_special": True, "parse_special": True})["tokens"]
        ours = [tokenizer.token_to_id(tokens.BEGIN)]
        for part in tokens.turn(tokenizer, plain(question), answer):
            ours += part
        ours += tokens.turn(tokenizer, plain(follow_up), "")[0]
        if theirs != ours:
            different += 1
            print(f"differs: the conversation {prompt!r}")
    print(f"{count - different} of {count} texts have the same tokens")
    del server
    raise SystemExit(1 if different else 0)


def texts(tokenizer: tokens.Tokenizer) -> Iterator[str]:
    """What the model was trained on, and what it is measured with."""
    facts = load()
    for fact in facts.values():
        yield from fact.answers
    for part in ("dev", "test"):
        for held in held_out(part):
            yield plain(held.question)
    teacher = Teacher(facts, tokenizer, SEED + 1, {})
    for number in range(QUESTIONS):
        yield teacher.question(teacher.facts[number % len(teacher.facts)])


def conversations() -> Iterator[tuple[str, str, str]]:
    """Question, answer and follow-up of some held-out questions."""
    facts, asked = load(), held_out("dev")
    for first, second in zip(asked[::5], asked[1::5], strict=False):
        yield first.question, facts[first.facts[0]].answers[0], second.question


def messages(question: str, answer: str, follow_up: str) -> list[dict[str, str]]:
    """A conversation in OpenAI's form."""
    roles = ("user", "assistant", "user")
    return [{"role": role, "content": text} for role, text in zip(roles, (question, answer, follow_up), strict=True)]


def ask(url: str, body: dict[str, Any]) -> dict[str, Any]:
    """JSON in, JSON out, of the engine's own server on loopback."""
    data, headers = json.dumps(body).encode(), {"Content-Type": "application/json"}
    request = urllib.request.Request(url, data, headers)  # noqa: S310 - loopback
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - loopback
        return dict(json.loads(answer.read()))


if __name__ == "__main__":
    main()
