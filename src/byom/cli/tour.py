"""The tour of ``byom demo``: everything in it is real, over real sockets; only the far model is a stand-in."""

from __future__ import annotations

import math
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from byom.cli.child_hub import child_hub
from byom.client import Client
from byom.errors import LimitExceeded
from byom.testing import Behavior, FakeUpstream

_STORY = (
    "Once there was a hub that every model could join. Each came with its own habits, and none had to change them. "
    "Whoever called the hub called them all."
)
_REPORT = (
    "The bridge was closed on Monday because of ice. Crews spread salt on the bridge before dawn. The ice on the "
    "bridge melted by noon, and traffic went on. A bakery nearby gave coffee to the crews."
)
_TEXTS = ("ice on the bridge", "the bridge was icy", "a recipe for bread")
_KEY = "sk-workshop-0123456789abcdef"


class Tour:
    """One run. Narrates to ``console``; raises what goes wrong."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._step = 0

    def run(self) -> None:
        began = time.perf_counter()
        story = Behavior(text=_STORY, chunk_interval=0.03)
        with (
            tempfile.TemporaryDirectory(prefix="byom-demo-") as folder,
            FakeUpstream(story, models=("storyteller",), api_key=_KEY) as upstream,
        ):
            home = Path(folder) / "home"
            self._title("Start a hub")
            started = time.perf_counter()
            with child_hub(home) as url, Client(url, home=home) as client:
                self._say(f"byom serve listens at {url} after {time.perf_counter() - started:.1f} s.")
                self._connect(client, upstream.base_url)
                self._chat(client)
                self._stream(client)
                self._embed(client)
                self._limit(client, url)
                self._ledger(client)
        self._say("")
        self._say(f"That was the tour, in {time.perf_counter() - began:.1f} s. Now yours: byom serve")

    def _connect(self, client: Client, url: str) -> None:
        self._title("Connect an endpoint")
        self._command(f"byom connect workshop --url {url} --model storyteller --key-stdin")
        saved = client.connect("workshop", url, model="storyteller", key=_KEY)
        report = saved["check"]
        self._say(f"It answers in {report['latency_ms']:.0f} ms and lists {len(report['models'])} model; "
                  f"its key is stored encrypted (…{saved['connection']['key_hint']}).")  # fmt: skip
        client.prices.put("storyteller", input="0.15", output="0.60")
        self._say("Its price is set: $0.15 in, $0.60 out per million tokens.")

    def _chat(self, client: Client) -> None:
        self._title("Chat")
        self._command('byom chat extractive "The bridge was closed …"')
        answer = client.chat("extractive", _REPORT, max_tokens=40)
        self._answer(answer.text)
        if answer.usage is not None:
            self._say(f"{answer.usage.prompt_tokens} tokens in, {answer.usage.completion_tokens} out, "
                      "from a built-in model that needs no network.")  # fmt: skip

    def _stream(self, client: Client) -> None:
        self._title("Stream")
        self._command('byom chat storyteller "Tell me a story"')
        began = time.perf_counter()
        first, pieces = 0.0, 0
        for piece in client.chat("storyteller", "Tell me a story", stream=True):
            if piece.text:
                first = first or time.perf_counter() - began
                pieces += 1
                self._console.print(Text(piece.text, style="green"), end="")
                self._console.file.flush()
        self._console.print()
        self._say(f"{pieces} pieces as they came: the first after {first * 1000:.0f} ms, "
                  f"the last after {(time.perf_counter() - began) * 1000:.0f} ms.")  # fmt: skip

    def _embed(self, client: Client) -> None:
        self._title("Embed")
        self._command(f'byom embed lexical "{_TEXTS[0]}" …')
        vectors = client.embed("lexical", _TEXTS).vectors
        for text, vector in zip(_TEXTS[1:], vectors[1:], strict=True):
            self._say(f"'{_TEXTS[0]}' and '{text}': {_cosine(vectors[0], vector):.2f} alike")

    def _limit(self, client: Client, url: str) -> None:
        self._title("Reach a limit")
        self._command("byom keys create guest --model extractive --rpm 2")
        made = client.keys.create("guest", models=["extractive"], limits={"requests_per_minute": 2})
        with Client(url, made["token"]) as guest:
            for number in (1, 2, 3):
                try:
                    guest.chat("extractive", "One sentence.")
                except LimitExceeded as refused:
                    wait = f"Retry-After: {refused.retry_after:.0f} s" if refused.retry_after else "no time known"
                    self._say(f"call {number}: 429, {wait}")
                else:
                    self._say(f"call {number}: 200")

    def _ledger(self, client: Client) -> None:
        self._title("Look at the ledger")
        self._command("byom usage; byom calls")
        deadline = time.monotonic() + 5.0
        while client.info()["ledger"]["lag"] and time.monotonic() < deadline:
            time.sleep(0.05)  # rows are on disk already; the database takes them in batches
        table = Table("model", "calls", "refused", "prompt", "completion", "cost", box=None)
        for line in client.usage():
            cost = "not known" if line["cost"] is None else f"${line['cost']}"
            counts = (line["calls"], line["refused_calls"], line["prompt_tokens"], line["completion_tokens"])
            table.add_row(line["name"], *map(str, counts), cost)
        self._console.print(table)
        rows: list[dict[str, Any]] = client.calls(3)["data"]
        for row in rows:
            self._say(f"{row['id']}  {row['model']}  {row['status']} {row['state']}  {row['latency_ms']:.1f} ms")

    def _title(self, text: str) -> None:
        self._step += 1
        self._console.print()
        self._console.print(Text(f"{self._step}. {text}", style="bold"))

    def _say(self, text: str) -> None:
        self._console.print(Text(text), soft_wrap=True)

    def _command(self, text: str) -> None:
        self._console.print(Text(f"$ {text}", style="cyan"), soft_wrap=True)

    def _answer(self, text: str) -> None:
        self._console.print(Text(text, style="green"), soft_wrap=True)


def _cosine(first: Sequence[float], second: Sequence[float]) -> float:
    norm = math.hypot(*first) * math.hypot(*second)
    return sum(one * other for one, other in zip(first, second, strict=True)) / norm if norm else 0.0


def run() -> None:
    """The whole tour, with colours at a terminal and plain in a pipe."""
    Tour(Console(file=sys.stdout)).run()
