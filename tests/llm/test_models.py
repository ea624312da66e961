"""Model objects in a notebook: pace, counts, costs, threads, errors."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from byom.errors import LimitExceeded, UpstreamError, UpstreamProtocol
from byom.ledger.row import Row
from byom.limits.local import LocalLimiter
from byom.llm import EmbedModel, Model
from byom.models.collect import collect
from byom.types.chat import ChatRequest
from byom.types.limits import Limits, Scope, Window


def no_setup(api_key: str | None) -> None:
    return None


def echo(model: Any, prompt: str) -> tuple[str, list[int]]:
    return prompt, [3, 2]


def model(fn: Any = echo, **given: Any) -> Model:
    return Model(**{"name": "m", "setup_fn": no_setup, "fn": fn, **given})


def embed_model(fn: Any, **given: Any) -> EmbedModel:
    return EmbedModel(**{"name": "e", "setup_fn": no_setup, "fn": fn, **given})


def test_the_client_is_made_once_when_the_model_is() -> None:
    keys: list[Any] = []

    def setup(api_key: Any) -> str:
        keys.append(api_key)
        return "client"

    made = Model("m", setup, echo, "sk-secret", (20, 10), temperature=0.5, system_prompt="Be brief.")
    assert (made.client, keys) == ("client", ["sk-secret"])
    assert made.args == {"temperature": 0.5, "system_prompt": "Be brief."}
    assert made.rate_limit == (20, 10.0)
    assert "secret" not in repr(made)


@pytest.mark.parametrize(
    ("cost", "expected"),
    [
        ((1e-6, 2e-6), "0.000007"),
        ([1e-6, 2e-6], "0.000007"),
        (1e-6, "0.000005"),
        ([1e-6], "0.000005"),
        ((0), "0"),
        ([0, 0], "0"),
        (Decimal("0.000001"), "0.000005"),
        ((0.15 / 1_000_000, 0.6 / 1_000_000), "0.00000165"),
    ],
)
async def test_every_form_of_cost_is_counted(cost: Any, expected: str) -> None:
    made = model(cost=cost)
    assert (await made.generate("Hello")).cost == Decimal(expected)
    assert made.cost == cost


@pytest.mark.parametrize("cost", [(1, 2, 3), "much", -1e-6, float("nan"), float("inf"), ()])
def test_a_cost_that_means_nothing_is_refused(cost: Any) -> None:
    with pytest.raises(ValueError, match="cost must be"):
        model(cost=cost)


@pytest.mark.parametrize("limit", [(0, 10), (1, 0), (1,), 5, ("many", 1)])
def test_a_rate_limit_that_means_nothing_is_refused(limit: Any) -> None:
    with pytest.raises(ValueError, match="rate_limit must be"):
        model(rate_limit=limit)


async def test_an_unknown_cost_is_never_zero() -> None:
    made = model()
    assert (await made.generate("Hello")).cost is None
    assert made.spent.cost is None
    assert (made.spent.calls, made.spent.total_tokens) == (1, 5)


@pytest.mark.parametrize("tokens", [(0, 0), [0, 0], None, 0])
async def test_tokens_that_are_not_told_are_estimated_and_marked(tokens: Any) -> None:
    made = model(lambda model, prompt: ("Some words of an answer.", tokens), cost=1e-6)
    answer = await made.generate("Some words of a question?")
    assert answer.usage.estimated
    assert made.spent.estimated
    assert answer.usage.prompt_tokens > 4
    assert answer.usage.completion_tokens > 3
    assert answer.cost == answer.usage.total_tokens * Decimal("0.000001")


@pytest.mark.parametrize(
    ("result", "text"),
    [("plain", "plain"), ((None, [0, 0]), ""), (({"a": 1}, None), '{"a": 1}'), (("t", np.array([3, 2])), "t")],
)
async def test_what_functions_return_is_read_in_every_form(result: Any, text: str) -> None:
    assert (await model(lambda model, prompt: result).generate("?")).text == text


@pytest.mark.parametrize("result", [("a", 1, 2), (3, None), ("a", "many"), ("a", (1, 2, 3)), 7])
async def test_what_nobody_can_read_is_an_error_that_names_the_function(result: Any) -> None:
    def answer(model: Any, prompt: str) -> Any:
        return result

    with pytest.raises(UpstreamProtocol, match="'answer' of model 'm'"):
        await model(answer).generate("?")


async def test_what_the_function_raises_names_it_and_is_counted_as_failed() -> None:
    def broken(model: Any, prompt: str) -> Any:
        raise KeyError("choices")

    made = model(broken, cost=1e-6)
    with pytest.raises(UpstreamError, match="'broken' of model 'm' raised KeyError: 'choices'") as caught:
        await made.generate("?")
    assert isinstance(caught.value.__cause__, KeyError)
    assert (made.spent.calls, made.spent.failed, made.spent.cost) == (1, 1, Decimal(0))


async def test_each_call_has_its_own_args() -> None:
    def fills(model: Any, prompt: str) -> tuple[str, None]:
        model.args.setdefault("temperature", 0)
        model.args["seen"] = prompt
        return f"{model.args['temperature']} {model.args.get('max_tokens')} {model.client}", None

    made = Model("m", lambda key: "client", fills, system_prompt="x")
    answers = await asyncio.gather(made.generate("a"), made.generate("b", temperature=0.7, max_tokens=5))
    assert [answer.text for answer in answers] == ["0 None client", "0.7 5 client"]
    assert made.args == {"system_prompt": "x"}


async def blocks(model: Any, prompt: str) -> tuple[str, None]:
    time.sleep(0.05)  # noqa: ASYNC251 - what the test is about
    return prompt, None


async def blocks_elsewhere(model: Any, prompt: str) -> tuple[str, None]:
    return await blocks(model, prompt)


def plainly_blocks(model: Any, prompt: str) -> tuple[str, None]:
    time.sleep(0.05)
    return prompt, None


@pytest.mark.parametrize("fn", [blocks, plainly_blocks, blocks_elsewhere])
async def test_functions_that_block_run_beside_each_other(fn: Any) -> None:
    made = model(fn)
    await made.generate("first")
    began = time.perf_counter()
    answers = await asyncio.gather(*(made.generate(str(number)) for number in range(100)))
    assert time.perf_counter() - began < 1.0  # one after the other: 5 s
    assert [answer.text for answer in answers] == [str(number) for number in range(100)]


async def test_a_function_that_waits_stays_on_the_callers_loop() -> None:
    loop = asyncio.get_running_loop()
    seen: list[bool] = []

    async def waits(model: Any, prompt: str) -> tuple[str, None]:
        await asyncio.sleep(0)
        seen.append(asyncio.get_running_loop() is loop and threading.current_thread() is threading.main_thread())
        return prompt, None

    made = model(waits)
    await asyncio.gather(*(made.generate("?") for _ in range(5)))
    assert seen == [True] * 5


async def test_a_cancelled_call_cancels_a_function_that_waits() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def waits(model: Any, prompt: str) -> tuple[str, None]:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return prompt, None

    made = model(waits)
    task = asyncio.create_task(made.generate("?"))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()
    assert made.spent.failed == 1


def most_in_any_window(times: list[float], seconds: float) -> int:
    return max(sum(start <= other < start + seconds for other in times) for start in times)


async def test_the_rate_limit_holds_in_every_window() -> None:
    begun: list[float] = []

    async def noted(model: Any, prompt: str) -> tuple[str, None]:
        begun.append(time.monotonic())
        await asyncio.sleep(0)
        return prompt, None

    made = model(noted, rate_limit=(10, 0.3))
    await asyncio.gather(*(made.generate(str(number)) for number in range(35)))
    assert len(begun) == 35
    assert begun[-1] - begun[0] >= 0.85
    assert most_in_any_window(begun, 0.3 - 0.05) <= 10  # the clock is read a little after the call was let in


def test_the_rate_limit_holds_from_one_event_loop_to_the_next() -> None:
    made = model(rate_limit=(2, 0.3))
    began = time.monotonic()
    for number in range(5):
        asyncio.run(made.generate(str(number)))
    assert time.monotonic() - began >= 0.55


async def test_shared_limits_and_a_ledger_can_be_added() -> None:
    rows: list[Row] = []
    scope = Scope("key:k", Limits(windows=(Window("requests", 1, 60.0),)))
    made, limiter = model(cost=(1e-6, 2e-6), context_window=8192), LocalLimiter()
    chat = made.as_chat_model(limiter=limiter, scopes=(scope,), write=rows.append)
    request = ChatRequest(messages=[{"role": "system", "content": "S"}, {"role": "user", "content": "U"}])
    assert (await collect(chat.chat(request))).text == "system: S\n\nuser: U"
    with pytest.raises(LimitExceeded):
        await collect(chat.chat(request))
    assert [(row.model, row.state, row.cost) for row in rows] == [("m", "ok", 7_000_000), ("m", "refused", 0)]
    assert (chat.info.context_window, chat.info.abilities) == (8192, frozenset({"chat"}))
    assert made.spent.cost == Decimal("0.000007")


async def test_a_model_without_a_name_goes_by_its_function() -> None:
    made = model(name="")
    assert (made.name, made.as_chat_model().info.name) == ("", "echo")


# --- embeddings


async def test_texts_go_in_batches_and_come_back_in_order() -> None:
    sizes: list[int] = []

    def lengths(model: Any, texts: Any) -> Any:
        sizes.append(len(texts))
        return np.array([[len(text), 0.5] for text in texts.tolist()]), [len(texts), 0]

    made = embed_model(lengths, batch_size=4, cost=(1e-6))
    result = await made.embed(["x" * number for number in range(1, 11)])
    assert [vector[0] for vector in result.vectors] == list(range(1, 11))
    assert sorted(sizes) == [2, 4, 4]
    assert (result.usage.prompt_tokens, result.usage.estimated) == (10, False)
    assert result.cost == made.spent.cost == Decimal("0.00001")


async def test_without_a_batch_size_the_function_gets_one_text() -> None:
    def one(model: Any, text: str) -> Any:
        assert isinstance(text, str)
        return [float(len(text)), 1.0], None

    assert (await embed_model(one).embed(["a", "bb"])).vectors == [[1.0, 1.0], [2.0, 1.0]]
    assert (await embed_model(one).embed("ccc")).vectors == [[3.0, 1.0]]


async def test_a_function_that_takes_one_text_is_found_out() -> None:
    seen: list[Any] = []

    def one(model: Any, text: Any) -> Any:
        seen.append(text)
        return [1.0, 2.0], [0, 0]

    made = embed_model(one, batch_size=8)
    assert (await made.embed(["a", "b", "c"])).vectors == [[1.0, 2.0]] * 3
    assert seen == [["a", "b", "c"], ["a"], ["b"], ["c"]]
    await made.embed(["d", "e"])
    assert seen[4:] == [["d"], ["e"]]


@pytest.mark.parametrize("result", [[[1.0]], [[1.0], [1.0, 2.0]], "text", None, [["a"], ["b"]], [1.0, [2.0]]])
async def test_vectors_that_do_not_fit_are_an_error(result: Any) -> None:
    with pytest.raises(UpstreamProtocol, match="of model 'e'"):
        await embed_model(lambda model, texts: result, batch_size=8).embed(["a", "b"])


async def test_no_texts_make_no_call() -> None:
    made = embed_model(lambda model, texts: 1 / 0, batch_size=8, cost=0)
    result = await made.embed([])
    assert (result.vectors, result.cost, made.spent.calls) == ([], Decimal(0), 0)


async def test_batches_keep_to_the_rate_limit() -> None:
    begun: list[float] = []

    async def noted(model: Any, texts: Any) -> Any:
        begun.append(time.monotonic())
        await asyncio.sleep(0)
        return [[1.0] for _ in texts]

    await embed_model(noted, batch_size=1, rate_limit=(2, 0.2)).embed(list("abcde"))
    assert len(begun) == 5
    assert begun[-1] - begun[0] >= 0.35


def test_importing_is_light() -> None:
    heavy = {"httpx2", "genai_prices", "numpy", "PIL", "sqlalchemy", "fastapi"}
    code = f"import sys, byom.llm; print(*({heavy} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
