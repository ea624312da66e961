"""What a host of user code says reaches the caller, and a fault of the code is not tried again."""

from __future__ import annotations

import asyncio
import json

import pytest
from msgspec import structs

from byom.catalog.snapshot import Circuit, Retry
from byom.testing import Behavior, FakeUpstream, Response
from tests.gateway.rig import Rig, target_of, until
from tests.gateway.wire import body_of, post, wire

pytestmark = pytest.mark.parametrize("server", ["own", "asgi"])


def use(rig: Rig, upstream: FakeUpstream) -> None:
    retry = Retry(attempts=3, base_delay=0.001)
    rig.change_route(target=target_of(upstream, tell_user=True), retry=retry, circuit=Circuit(failures=2, seconds=60.0))


def said(code: str, message: str, status: int = 502) -> Behavior:
    return Behavior(status=status, error={"message": message, "type": "upstream_error", "code": code, "param": None})


async def test_what_the_code_raised_is_told_and_neither_tried_again_nor_held_against_the_host(
    rig: Rig, upstream: FakeUpstream
) -> None:
    use(rig, upstream)
    upstream.set_default(said("code_error", "NameError: name 'x' is not defined"))
    async with wire(rig.port) as line:
        for number in range(1, 5):
            reply = await line.call(post(body_of()))
            assert (reply.status, reply.error["code"]) == (502, "code_error")
            assert reply.error["message"] == "NameError: name 'x' is not defined"
            assert len(upstream.requests) == number
    assert {row.error for row in rig.rows} == {"code_error"}


async def test_a_call_that_a_dying_process_took_along_is_made_again(rig: Rig, upstream: FakeUpstream) -> None:
    use(rig, upstream)
    upstream.enqueue(said("code_ended", "The code of the model ended its process (exit code 3)."))
    async with wire(rig.port) as line:
        assert (await line.call(post(body_of()))).status == 200
    assert len(upstream.requests) == 2


async def test_a_user_without_a_credential_learns_where_to_enter_it(rig: Rig, upstream: FakeUpstream) -> None:
    use(rig, upstream)
    text = "ann has no credential for the preset 'OpenAI': byom credentials set lab"
    upstream.set_default(said("credential_missing", text, status=403))
    async with wire(rig.port) as line:
        reply = await line.call(post(body_of()))
    assert (reply.status, reply.error["code"], reply.error["message"]) == (403, "credential_missing", text)


async def test_tokens_that_the_host_has_guessed_are_marked_in_the_ledger(rig: Rig, upstream: FakeUpstream) -> None:
    usage = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7, "estimated": True}
    body = json.dumps({"id": "a", "choices": [], "usage": usage}).encode()
    upstream.set_default(lambda request: Response(body=body))
    async with wire(rig.port) as line:
        assert (await line.call(post(body_of()))).status == 200
    assert [(row.prompt_tokens, row.estimated) for row in rig.rows] == [(5, True)]


@pytest.mark.parametrize("between", [False, True], ids=["moved", "started-anew"])
async def test_a_call_that_finds_its_process_gone_goes_where_the_next_one_is(
    rig: Rig, upstream: FakeUpstream, between: bool
) -> None:
    live = target_of(upstream, trusted=True)
    async with FakeUpstream() as away:
        gone = target_of(away, trusted=True)
    rig.change_route(target=gone, retry=Retry(attempts=2, base_delay=0.2))

    async def wake(connection: str) -> None:
        rig.change_route(target=live)

    rig.gateway.wake = wake
    async with wire(rig.port) as line:
        call = asyncio.ensure_future(line.call(post(body_of())))
        await until(lambda: any(one.attempt_list for one in rig.gateway.active))
        rig.change_route(target=structs.replace(gone, host="", port=0) if between else live)
        assert (await call).status == 200
    assert len(upstream.requests) == 1
