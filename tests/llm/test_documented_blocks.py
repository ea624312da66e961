"""LLooM's page on custom models, run word for word but for the package's name."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from byom.llm import EmbedModel, Model, OpenAIEmbedModel, OpenAIModel
from byom.testing import Behavior, FakeUpstream
from tests.llm import documented

LLAMA = "meta-llama/Meta-Llama-3-8B-Instruct"
MODELS = ("distill_model", "cluster_model", "synth_model", "score_model")


@pytest.fixture
def parts() -> list[str]:
    return documented.blocks()


@pytest.fixture
def openai_like(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeUpstream]:
    with FakeUpstream(Behavior(text="Four words of text.", prompt_tokens=11, completion_tokens=5)) as upstream:
        monkeypatch.setenv("OPENAI_BASE_URL", upstream.base_url)
        yield upstream


@pytest.fixture
def port_8000() -> Iterator[FakeUpstream]:
    upstream = FakeUpstream(Behavior(text="Hello from Llama.", usage="none"), models=(LLAMA,), port=8000)
    try:
        upstream.__enter__()
    except OSError as error:
        pytest.skip(f"the page names port 8000, and it is taken on this machine: {error}")
    try:
        yield upstream
    finally:
        upstream.__exit__(None, None, None)


def session(parts: list[str], patch: pytest.MonkeyPatch, **names: Any) -> dict[str, Any]:
    wb = documented.install_workbench(patch)
    namespace = documented.run(parts, wb=wb, df=object(), **names)
    assert len(wb.sessions) == 1
    given = wb.sessions[0]
    assert set(given) == {"df", "id_col", "text_col", *MODELS}
    return {**namespace, **{name: given[name] for name in MODELS}}


async def close(names: dict[str, Any]) -> None:
    for name in MODELS:
        await names[name].aclose()


def test_every_block_of_the_page_is_run_below(parts: list[str]) -> None:
    assert len(parts) == 12


async def test_openai_models_by_name_and_key(
    parts: list[str], openai_like: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = session(parts[0:3], monkeypatch)
    assert isinstance(made["distill_model"], OpenAIModel)
    assert isinstance(made["cluster_model"], OpenAIEmbedModel)
    answer = await made["synth_model"].generate("Hello?")
    vectors = await made["cluster_model"].embed(["one", "two", "three"])
    assert (answer.text, answer.usage.prompt_tokens, answer.usage.completion_tokens) == ("Four words of text.", 11, 5)
    assert not answer.usage.estimated
    assert len(vectors.vectors) == 3
    assert {request.header("authorization") for request in openai_like.requests} == {"Bearer sk-YOUR-KEY-HERE"}
    assert [request.fields()["model"] for request in openai_like.requests] == ["gpt-4o", "text-embedding-3-large"]
    await close(made)


async def test_openai_models_with_a_window_a_cost_and_a_rate_limit(
    parts: list[str], openai_like: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = session([parts[0], parts[1], parts[3]], monkeypatch)
    distill, synth = made["distill_model"], made["synth_model"]
    assert (distill.context_window, distill.rate_limit, synth.rate_limit) == (128_000, (300, 10.0), (20, 10.0))
    await distill.generate("Hello?")
    answer = await synth.generate("Hello?")
    assert distill.spent.cost == (11 * Decimal("0.15") + 5 * Decimal("0.6")) / 1_000_000
    assert answer.cost == synth.spent.cost == (11 * Decimal("2.5") + 5 * Decimal(10)) / 1_000_000
    assert (synth.spent.calls, synth.spent.prompt_tokens, synth.spent.completion_tokens) == (1, 11, 5)
    await close(made)


async def test_gemini_through_two_functions_of_ones_own(parts: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The page imports ``genai`` in its setup functions and uses it in others."""
    gemini = documented.install_gemini(monkeypatch)
    made = session(parts[4:9], monkeypatch, api_key="gemini-key")
    distill, cluster, synth = made["distill_model"], made["cluster_model"], made["synth_model"]
    assert isinstance(distill, Model)
    assert isinstance(cluster, EmbedModel)
    assert gemini.key == "gemini-key"
    answer = await distill.generate("Quotes, please.")
    assert answer.text == "gemini-1.5-flash says hello"
    assert gemini.prompts == [("gemini-1.5-flash", "Quotes, please.")]
    # The page counts the total as output; that is what its function tells.
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.estimated) == (7, 12, False)
    assert answer.cost == 7 * Decimal("0.0000005") + 12 * Decimal("0.0000015")
    assert (await synth.generate("Names, please.")).cost == 7 * Decimal("0.00001") + 12 * Decimal("0.00003")
    result = await cluster.embed(["a first text", "a second text"])
    assert result.vectors == [[0.1, 0.2, 0.3]] * 2
    assert gemini.embedded == [("models/embedding-001", ["a first text", "a second text"], "clustering")]
    assert result.usage.estimated
    assert result.cost == result.usage.prompt_tokens * Decimal("0.00000013")
    assert (synth.context_window, synth.rate_limit, cluster.batch_size) == (128000, (20, 10.0), 2048)


async def test_llama_on_port_8000_and_sentence_transformers(
    parts: list[str], port_8000: FakeUpstream, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    documented.install_sentence_transformers(monkeypatch)
    made = session(parts[9:12], monkeypatch)
    assert "Completion result:" in capsys.readouterr().out
    answer = await made["score_model"].generate("Is this about cats?")
    assert answer.text == "Hello from Llama."
    sent = port_8000.requests[-1].fields()
    assert (sent["model"], sent["temperature"]) == (LLAMA, 0)
    assert [message["role"] for message in sent["messages"]] == ["system", "user"]
    assert sent["messages"][1]["content"] == "Is this about cats?"
    # [0, 0] says that the tokens are not known: they are estimated and marked, and cost what was declared.
    assert answer.usage.estimated
    assert answer.usage.prompt_tokens > 0
    assert answer.usage.completion_tokens > 0
    assert answer.cost == Decimal(0)
    assert made["score_model"].args == {}
    cluster = made["cluster_model"]
    assert (cluster.name, cluster.client.name) == ("", "all-MiniLM-L6-v2")
    result = await cluster.embed(["cats", "snakes"])
    assert result.vectors == [[4.0, 1.0], [6.0, 1.0]]
    assert result.cost == Decimal(0)
    made["score_model"].client.close()
    for name in ("distill_model", "synth_model"):
        made[name].client.close()


async def test_a_name_that_nothing_defines_is_told_with_the_function_that_uses_it(
    parts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    documented.install_gemini(monkeypatch)
    namespace = documented.run([parts[4], parts[6]])
    model = Model(name="gemini-1.5-flash", setup_fn=lambda api_key: None, fn=namespace["call_llm_fn"])
    with pytest.raises(Exception, match=r"'call_llm_fn' of model 'gemini-1.5-flash' raised NameError: name 'genai'"):
        await model.generate("Hello?")
