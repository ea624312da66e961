"""Measures a GGUF through llama.cpp, the engine that serves it: `python -m training.guide.measure FILE --part test`.

An answer is *useful* when it holds every text that the fact needs, and between backticks nothing but what the fact's
own answers have there: no wrong command.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .facts import CODE, Fact, Held, held_out, holds, load

if TYPE_CHECKING:
    from collections.abc import Iterator

CONTEXT = 1024
LONGEST_ANSWER = 200


class Engine:
    """llama.cpp with one GGUF, in this process."""

    def __init__(self, server: Any) -> None:
        self._server = server

    def answer(self, question: str, **fields: Any) -> str:
        """The text of a chat completion with one message."""
        body = {"messages": [{"role": "user", "content": question}], "max_tokens": LONGEST_ANSWER, **fields}
        return str(self.complete(body)["choices"][0]["message"]["content"])

    def complete(self, body: dict[str, Any]) -> dict[str, Any]:
        """A chat completion; `RuntimeError` with the engine's words where it refuses."""
        reply = self._server.handle_chat_completions(body)
        found = json.loads(reply) if isinstance(reply, str | bytes) else reply
        if "choices" not in found:
            raise RuntimeError(str(found))
        return dict(found)


@contextmanager
def engine(path: Path, threads: int = 1) -> Iterator[Engine]:
    """llama.cpp with the GGUF at `path`, listening nowhere but on a free loopback port."""
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(path)
    parameters.n_ctx = CONTEXT
    parameters.n_parallel = 1
    parameters.verbosity = -1
    parameters.port = 0
    parameters.cpuparams.n_threads = threads
    server = xllamacpp.Server(parameters)
    try:
        yield Engine(server)
    finally:
        del server


def useful(answer: str, facts: Sequence[Fact]) -> bool:
    """Whether the answer holds what one of the facts needs, and no code that the fact does not have."""
    return any(
        all(holds(answer, need) for need in fact.needs) and set(CODE.findall(answer)) <= fact.code for fact in facts
    )


def measure(model: Engine, questions: Iterable[Held], facts: dict[str, Fact]) -> list[tuple[Held, str, bool]]:
    """Every question with the model's answer and whether that is useful."""
    found = []
    for held in questions:
        answer = model.answer(held.question)
        found.append((held, answer, useful(answer, [facts[name] for name in held.facts])))
    return found


def main() -> None:
    """Prints the answers that are not useful, and the share of those that are."""
    parser = argparse.ArgumentParser(description="Measure a GGUF of the guide.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--part", default="dev")
    parser.add_argument("--all", action="store_true", help="print every answer")
    args = parser.parse_args()
    facts = load()
    with engine(args.file) as model:
        results = measure(model, held_out(args.part), facts)
    for held, answer, good in results:
        if args.all or not good:
            print(f"{'+' if good else '-'} {held.question}\n    wanted {', '.join(held.facts)}; got: {answer}")
    count = sum(one for _, _, one in results)
    print(f"{args.part}: {count} of {len(results)} useful, {100 * count / len(results):.1f} %")


if __name__ == "__main__":
    main()
