from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from byom.catalog import price_table
from byom.catalog.amounts import price_form, price_of
from byom.catalog.catalog import Catalog
from byom.catalog.forms import PriceForm
from byom.errors import ConfigError, NotFound
from byom.types.usage import Price, Usage

from .conftest import ME, Opener

OPENAI = "https://api.openai.com/v1"
ANTHROPIC = "https://api.anthropic.com/v1"
GOOGLE = "https://generativelanguage.googleapis.com/v1beta/openai"
AT = datetime(2026, 6, 1, tzinfo=UTC)


async def connect(catalog: Catalog, model: str, url: str = OPENAI, name: str | None = None, **fields: object) -> None:
    if "lab" not in {connection.name for connection in catalog.connections.list()}:
        await catalog.connections.create({"name": "lab", "url": url}, actor=ME)
    await catalog.models.create(
        {"name": name or model, "connection": "lab", "upstream_model": model, **fields}, actor=ME
    )


def packaged(url: str, model: str) -> Price:
    found = price_table.look_up(url, model, "", AT)
    assert found.price is not None, found.note
    return found.price


@pytest.mark.parametrize(
    ("url", "model", "usage", "dollars"),
    [
        # 1,000 plain and 1,000 cached tokens in, 500 out: 1000·2.5 + 1000·1.25 + 500·10 per million
        (OPENAI, "gpt-4o", Usage(prompt_tokens=2000, cached_tokens=1000, completion_tokens=500), "0.00875"),
        # reasoning tokens are a part of the completion's and cost the same
        (OPENAI, "gpt-5", Usage(prompt_tokens=100, completion_tokens=900, reasoning_tokens=800), "0.009125"),
        (OPENAI, "text-embedding-3-small", Usage(prompt_tokens=1_000_000), "0.02"),
        # 100 plain, 1,000 read from the cache, 2,000 written into it, 10 out
        (
            ANTHROPIC,
            "claude-opus-4-1",
            Usage(prompt_tokens=3100, cached_tokens=1000, cache_write_tokens=2000, completion_tokens=10),
            "0.04125",
        ),
        # audio goes by its own price: 100 text, 900 audio in, 10 out
        (
            GOOGLE,
            "gemini-2.5-flash",
            Usage(prompt_tokens=1000, audio_prompt_tokens=900, completion_tokens=10),
            "0.000955",
        ),
        # up to 200,000 tokens of prompt one price, above it another for all of them
        (GOOGLE, "gemini-2.5-pro", Usage(prompt_tokens=200_000, completion_tokens=1000), "0.26"),
        (GOOGLE, "gemini-2.5-pro", Usage(prompt_tokens=200_001, completion_tokens=1000), "0.5150025"),
    ],
)
def test_packaged_prices_give_the_published_cost(url: str, model: str, usage: Usage, dollars: str) -> None:
    """Gateway checklist 55."""
    assert packaged(url, model).cost(usage) == Decimal(dollars) * 10**12


@pytest.mark.parametrize(
    ("url", "model", "why"),
    [
        (OPENAI, "whisper-1", "not by tokens"),
        (OPENAI, "gpt-image-1", "a class of tokens of its own"),
        ("https://api.deepseek.com/v1", "deepseek-chat", "time of day"),
        (OPENAI, "no-such-model", "does not know this model"),
        ("http://localhost:8000/v1", "gpt-4o", "does not know this model at this host"),
    ],
)
def test_what_a_price_per_token_cannot_say_is_unknown(url: str, model: str, why: str) -> None:
    """Gateway checklist 56: unknown is not zero."""
    found = price_table.look_up(url, model, "", AT)
    assert found.price is None
    assert why in found.note


def test_every_packaged_price_is_whole_and_agrees_with_the_table() -> None:
    from genai_prices import Usage as TableUsage
    from genai_prices.data import providers

    (openai,) = [provider for provider in providers if provider.id == "openai"]
    compared = 0
    for model in openai.models:
        found = price_table.look_up(OPENAI, model.id, "", AT)
        if found.price is None:
            assert found.note
            continue
        given = vars(model.get_prices(AT))
        if given.get("output_mtok") is None or given.get("input_audio_mtok") is not None:
            continue
        cached = 4000 if given.get("cache_read_mtok") is not None else 0
        for prompt in (10_000, 300_000):
            theirs = model.calc_price(
                TableUsage(input_tokens=prompt, cache_read_tokens=cached, output_tokens=700),
                openai,
                genai_request_timestamp=AT,
            )
            ours = found.price.cost(Usage(prompt_tokens=prompt, cached_tokens=cached, completion_tokens=700))
            assert Decimal(ours).scaleb(-12) == theirs.total_price, model.id
            compared += 1
    assert compared > 100


async def test_a_connected_model_has_the_packaged_price_and_its_version(catalog: Catalog, opener: Opener) -> None:
    await connect(catalog, "gpt-4o")
    price = catalog.snapshot.routes["gpt-4o"].price
    assert price == packaged(OPENAI, "gpt-4o")
    assert price.version.startswith("genai-prices@")
    shown = catalog.models.get("gpt-4o").price
    assert shown is not None
    assert (shown.source, shown.price.input, shown.price.cached_input) == (
        "genai-prices", Decimal("2.5"), Decimal("1.25"),
    )  # fmt: skip
    assert (await opener()).snapshot.routes["gpt-4o"].price == price


async def test_an_unknown_price_is_none_with_a_reason(local: Catalog) -> None:
    await connect(local, "my-model", "http://localhost:8000")
    assert local.snapshot.routes["my-model"].price is None
    shown = local.models.get("my-model")
    assert shown.price is None
    assert "does not know" in shown.price_note


async def test_what_runs_here_costs_nothing_and_says_so(local: Catalog) -> None:
    shown = local.models.get("extractive").price
    assert shown is not None
    assert (shown.source, shown.price.input, shown.price.output) == ("local", 0, 0)


async def test_code_may_call_a_paid_service_so_its_price_is_unknown(local: Catalog) -> None:
    await local.connections.create({"name": "fn", "kind": "code", "options": {"target": "/code.py:f"}}, actor=ME)
    await local.models.create({"name": "f", "connection": "fn"}, actor=ME)
    assert local.snapshot.routes["f"].price is None


async def test_the_users_prices_go_before_the_packaged_ones(catalog: Catalog) -> None:
    await connect(catalog, "gpt-4o", name="big")
    await catalog.prices.put("*", {"input": "9", "output": "9"}, actor=ME)
    await catalog.prices.put("gpt-*", {"input": 1, "output": 2.5}, actor=ME)
    route = catalog.snapshot.routes["big"]
    assert route.price is not None
    assert (route.price.input, route.price.output, route.price.source) == (1_000_000, 2_500_000, "user")
    assert catalog.models.get("big").price.pattern == "gpt-*"  # type: ignore[union-attr]
    await catalog.prices.put("big", {"input": "3", "output": "3"}, actor=ME)
    assert catalog.snapshot.routes["big"].price.input == 3_000_000  # type: ignore[union-attr]
    await catalog.models.update("big", {"price": {"input": "4", "output": "4"}}, actor=ME)
    assert catalog.models.get("big").price.source == "model"  # type: ignore[union-attr]
    await catalog.models.update("big", {"price": None}, actor=ME)
    for pattern in ("big", "gpt-*", "*"):
        await catalog.prices.delete(pattern, actor=ME)
    assert catalog.models.get("big").price.source == "genai-prices"  # type: ignore[union-attr]
    with pytest.raises(NotFound):
        await catalog.prices.delete("*", actor=ME)


async def test_another_price_is_another_version(local: Catalog) -> None:
    versions = set()
    for dollars in ("1", "2", "1.0"):
        await local.prices.put("extractive", {"input": dollars, "output": "0"}, actor=ME)
        versions.add(local.snapshot.routes["extractive"].price.version)  # type: ignore[union-attr]
    assert len(versions) == 2


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": "-1", "output": 0}, "price.input"),
        ({"input": "0.0000001", "output": 0}, "price.input"),
        ({"input": "NaN", "output": 0}, "price.input"),
        ({"input": "1e99", "output": 0}, "price.input"),
        ({"input": 1}, "output"),
        ({"input": 1, "output": "much"}, "output"),
    ],
)
async def test_a_price_that_makes_no_sense_is_refused(local: Catalog, fields: dict[str, object], param: str) -> None:
    with pytest.raises(ConfigError) as caught:
        await local.prices.put("*", fields, actor=ME)
    assert caught.value.param == param


def test_a_price_goes_to_picodollars_and_back_exactly() -> None:
    form = PriceForm(
        input=Decimal("0.0375"), output=Decimal(10), cached_input=Decimal("0.009375"), request=Decimal("0.01")
    )
    price = price_of(form)
    assert (price.input, price.cached_input, price.request) == (37_500, 9_375, 10**10)
    assert price_form(price) == form


async def test_the_table_is_asked_again_after_its_update(local: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    await connect(local, "gpt-4o")
    monkeypatch.setattr(price_table, "version", lambda: "genai-prices@next")
    await local.refresh_prices()
    assert local.snapshot.routes["gpt-4o"].price.version == "genai-prices@next"  # type: ignore[union-attr]
    assert (await local.audit.list(kind="model", name="gpt-4o"))[0].action == "create", "the table is no person"


async def test_moving_a_model_to_another_provider_asks_anew(local: Catalog) -> None:
    await connect(local, "gpt-4o")
    await local.connections.update("lab", {"url": "http://localhost:8000"}, actor=ME)
    assert local.snapshot.routes["gpt-4o"].price is None
