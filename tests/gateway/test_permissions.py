"""Which models a key sees and may use, on every route."""

from __future__ import annotations

import pytest

from byom.catalog.snapshot import GatewaySettings
from byom.testing import FakeUpstream
from byom.types.limits import Budget, Limits
from tests.gateway.rig import MODEL, OTHER_TOKEN, TOKEN, Rig, key, route_to, running, snapshot_of
from tests.gateway.wire import body_of, post, wire

BOTH = pytest.mark.parametrize("server", ["own", "asgi"])
JSON_ROUTES = [
    "chat/completions",
    "completions",
    "embeddings",
    "rerank",
    "responses",
    "messages",
    "moderations",
    "images/generations",
    "audio/speech",
    "score",
]
FORM_ROUTES = ["audio/transcriptions", "audio/translations", "images/edits", "images/variations"]


def form(model: str) -> bytes:
    return f'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\n{model}\r\n--b--\r\n'.encode()


FORM_KIND = "Content-Type: multipart/form-data; boundary=b"


@pytest.fixture
async def shared(upstream: FakeUpstream, server: str):  # type: ignore[no-untyped-def]
    """Two models; one key may use both, the other one `mock-model` alone."""
    routes = (route_to(upstream), route_to(upstream, "other-model", price=None))
    keys = (key(), key(OTHER_TOKEN, models=frozenset({MODEL})))
    async with running(snapshot_of(*routes, keys=keys), server=server) as rig:
        yield rig


@BOTH
async def test_models_lists_what_the_key_may_use(shared: Rig) -> None:
    """gateway checklist 89"""
    for token, names in ((TOKEN, [MODEL, "other-model"]), (OTHER_TOKEN, [MODEL])):
        async with wire(shared.port) as line:
            listed = await line.call(post(method="GET", path="/v1/models", token=token, length=None))
            assert [model["id"] for model in listed.json()["data"]] == names
            assert {"id", "object", "created", "owned_by"} <= listed.json()["data"][0].keys()
            for name in (MODEL, "other-model"):
                one = await line.call(post(method="GET", path=f"/v1/models/{name}", token=token, length=None))
                assert one.status == (200 if name in names else 404)


@BOTH
@pytest.mark.parametrize("path", JSON_ROUTES + FORM_ROUTES)
async def test_a_model_that_a_key_may_not_use_does_not_exist_for_it(
    shared: Rig, upstream: FakeUpstream, path: str
) -> None:
    """gateway checklist 54 and 89: on every route"""
    as_form = path in FORM_ROUTES
    lines = (FORM_KIND,) if as_form else ()

    def request(model: str) -> bytes:
        body = form(model) if as_form else body_of(model=model)
        return post(body, *lines, path=f"/v1/{path}", token=OTHER_TOKEN)

    async with wire(shared.port) as line:
        assert (await line.call(request(MODEL))).status == 200
        hidden = await line.call(request("other-model"))
        missing = await line.call(request("never-existed"))
    assert (hidden.status, hidden.error["code"]) == (missing.status, missing.error["code"]) == (404, "model_not_found")
    assert "Did you mean 'other" not in hidden.error["message"]
    assert len(upstream.requests) == 1


async def test_names_that_look_like_others_are_not_told_to_those_who_may_not_use_them(shared: Rig) -> None:
    """gateway checklist 89"""
    async with wire(shared.port) as line:
        for token, told in ((TOKEN, True), (OTHER_TOKEN, False)):
            reply = await line.call(post(body_of(model="other-modell"), token=token))
            assert ("other-model'" in reply.error["message"].replace("other-modell", "")) is told


async def test_a_model_with_odd_characters_is_found_by_its_name_in_a_path(upstream: FakeUpstream) -> None:
    """gateway checklist 89"""
    async with running(snapshot_of(route_to(upstream, "team/a model:q4"))) as rig, wire(rig.port) as line:
        for path in ("team/a%20model:q4", "team%2Fa%20model%3Aq4"):
            reply = await line.call(post(method="GET", path=f"/v1/models/{path}", length=None))
            assert reply.json()["id"] == "team/a model:q4"


@BOTH
@pytest.mark.parametrize("path", ["files", "batches", "fine_tuning/jobs", "vector_stores", "Embeddings", "pooling"])
@pytest.mark.parametrize(
    "caller",
    [key(models=frozenset({MODEL})), key(limits=Limits(budgets=(Budget(10**12, "day"),)))],
    ids=["models", "budget"],
)
async def test_routes_without_a_model_are_no_way_around_models_and_budgets(
    rig: Rig, upstream: FakeUpstream, path: str, caller: object
) -> None:
    """gateway checklist 54"""
    rig.swap(keys={TOKEN[8:20]: caller})
    async with wire(rig.port) as line:
        reply = await line.call(post(body_of(), path=f"/v1/{path}"))
    assert reply.status in (400, 403)
    assert not upstream.requests


async def test_a_model_without_a_price_is_refused_where_that_is_set(shared: Rig, upstream: FakeUpstream) -> None:
    """gateway checklist 56"""
    shared.swap(settings=GatewaySettings(require_price=True))
    async with wire(shared.port) as line:
        reply = await line.call(post(body_of(model="other-model")))
        assert (reply.status, reply.error["code"]) == (402, "price_required")
        assert (await line.call(post(body_of()))).status == 200
    assert len(upstream.requests) == 1


async def test_without_authentication_everybody_may_use_everything(upstream: FakeUpstream) -> None:
    """gateway checklist 66: only where it was asked for"""
    async with running(snapshot_of(route_to(upstream)), no_auth=True) as rig, wire(rig.port) as line:
        assert (await line.call(post(body_of(), token=None))).status == 200
        assert rig.rows[0].key == ""
