"""What one user made at an upstream is nobody else's."""

from __future__ import annotations

import json
from typing import Any

import pytest

from byom.catalog.snapshot import Snapshot
from byom.testing import FakeUpstream, RecordedRequest, Response
from tests.gateway.rig import OTHER_TOKEN, TOKEN, Rig, key, route_to, running, snapshot_of
from tests.gateway.wire import Reply, body_of, post, wire

ADMIN = "sk-byom-aaaaaaaaaaaa-" + "c" * 33
SPACES = ["", " ", "\n", "\t", "\r", "\r\n \t"]


def snapshot(upstream: FakeUpstream) -> Snapshot:
    return snapshot_of(route_to(upstream), keys=(key(), key(OTHER_TOKEN), key(ADMIN, role="admin")))


@pytest.fixture
async def shared(upstream: FakeUpstream):  # type: ignore[no-untyped-def]
    """An upstream where everything that is made has the id that the test's counter gives."""

    def answer(request: RecordedRequest) -> Response:
        name = request.path.removeprefix("/v1/").split("/")
        made = {"id": name[1] if len(name) > 1 else f"{name[0]}-{request.number}"}
        if name[0] == "batches":
            made |= {"output_file_id": "file-out", "error_file_id": "file-err"}
        return Response(body=json.dumps(made).encode())

    upstream.set_default(answer)
    async with running(snapshot(upstream)) as rig:
        yield rig


async def ask(rig: Rig, method: str, path: str, body: bytes = b"", token: str = TOKEN, *lines: str) -> Reply:
    async with wire(rig.port) as line:
        return await line.call(post(body, *lines, method=method, path=f"/v1/{path}", token=token))


async def test_only_its_maker_and_administrators_reach_a_thing(shared: Rig, upstream: FakeUpstream) -> None:
    """gateway checklist 67"""
    for route in ("files", "batches", "responses", "vector_stores", "conversations"):
        body = body_of(input="x") if route == "responses" else b"{}"
        made = (await ask(shared, "POST", route, body)).json()["id"]
        for method in ("GET", "DELETE", "POST"):
            for path in (f"{route}/{made}", f"{route}/{made}/content"):
                upstream.requests.clear()
                other = await ask(shared, method, path, token=OTHER_TOKEN)
                assert (other.status, other.error["code"]) == (404, "not_found")
                assert not upstream.requests
                assert (await ask(shared, method, path)).status == 200
                assert (await ask(shared, method, path, token=ADMIN)).status == 200


async def test_an_administrators_look_does_not_take_a_thing_away(shared: Rig) -> None:
    """gateway checklist 67"""
    made = (await ask(shared, "POST", "files", b"{}")).json()["id"]
    assert (await ask(shared, "GET", f"files/{made}", token=ADMIN)).status == 200
    assert (await ask(shared, "GET", f"files/{made}")).status == 200


async def test_a_batchs_results_belong_to_its_maker(shared: Rig) -> None:
    """gateway checklist 67"""
    file = (await ask(shared, "POST", "files", b"{}")).json()["id"]
    await ask(shared, "POST", "batches", json.dumps({"input_file_id": file}).encode())
    for name in ("file-out", "file-err"):
        assert (await ask(shared, "GET", f"files/{name}/content")).status == 200
        assert (await ask(shared, "GET", f"files/{name}/content", token=OTHER_TOKEN)).status == 404


async def test_lists_of_everybodys_things_take_an_admin_key(shared: Rig) -> None:
    """gateway checklist 67"""
    for route in ("files", "batches", "vector_stores", "fine_tuning"):
        assert (await ask(shared, "GET", route)).status == 403
        assert (await ask(shared, "GET", route, token=ADMIN)).status == 200


REFERENCES: list[dict[str, Any]] = [
    {"previous_response_id": "ID"},
    {"conversation": "ID"},
    {"conversation": {"id": "ID"}},
    {"previous_response_id": "ID", "input_file_id": 0},
    {"input": [{"type": "item_reference", "id": "ID"}]},
    {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "ID"}]}]},
    {"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "ID"}]}]},
    {"tools": [{"type": "file_search", "vector_store_ids": ["ID"]}]},
    {"tools": [{"type": "code_interpreter", "container": {"type": "auto", "file_ids": ["ID"]}}]},
    {"tools": [{"type": "code_interpreter", "container": "ID"}]},
]


@pytest.mark.parametrize("fields", REFERENCES, ids=json.dumps)
async def test_a_body_cannot_refer_to_somebody_elses_thing(
    shared: Rig, upstream: FakeUpstream, fields: dict[str, Any]
) -> None:
    """gateway checklist 67"""
    made = (await ask(shared, "POST", "responses", body_of(input="x"))).json()["id"]
    text = body_of(**fields).decode().replace("ID", made)
    escaped = text.replace("_id", "\\u005fid").replace("conv", "\\u0063onv")
    for space in SPACES:
        for body in (text, escaped):
            upstream.requests.clear()
            raw = (space + body).encode()
            assert (await ask(shared, "POST", "responses", raw, OTHER_TOKEN)).status == 404
            assert not upstream.requests
            if fields.get("input", [{}])[0].get("type") != "item_reference":
                assert (await ask(shared, "POST", "responses", raw)).status == 200


async def test_files_in_a_chat_are_their_makers_too(shared: Rig, upstream: FakeUpstream) -> None:
    """gateway checklist 67"""
    made = (await ask(shared, "POST", "files", b"{}")).json()["id"]
    content = [{"type": "file", "file": {"file_id": made}}]
    text = body_of(messages=[{"role": "user", "content": content}]).decode()
    for body in (text, text.replace("file_id", "file\\u005fid"), text.replace('"file_id', '"\\u0066ile_id')):
        assert (await ask(shared, "POST", "chat/completions", body.encode(), OTHER_TOKEN)).status == 404
    assert len(upstream.requests) == 1


async def test_words_that_only_look_like_references_pass(shared: Rig) -> None:
    """gateway checklist 67: metadata and schemas are the caller's own"""
    schema = {"type": "object", "properties": {"file_id": {"type": "string"}}, "required": ["file_id"]}
    fields = {
        "metadata": {"thread_id": "mine", "file_id": "mine"},
        "tools": [{"type": "function", "function": {"name": "file_id", "parameters": schema}}],
        "input": "previous_response_id is a field, file_id too",
    }
    for route in ("responses", "chat/completions"):
        assert (await ask(shared, "POST", route, body_of(**fields))).status == 200


@pytest.mark.parametrize(
    "body",
    [
        '{"input_file_id":"ID"}'.encode("utf-16"),
        b'\xef\xbb\xbf{"input_file_id":"ID"}',
        b"input_file_id=ID",
        b'{"input_file_id":"ID"',
    ],
)
async def test_a_body_that_cannot_be_read_here_does_not_pass_unseen(
    shared: Rig, upstream: FakeUpstream, body: bytes
) -> None:
    """gateway checklist 67: an upstream could read it"""
    assert (await ask(shared, "POST", "batches", body)).status == 400
    assert not upstream.requests


async def test_a_streamed_response_belongs_to_its_maker(upstream: FakeUpstream) -> None:
    """gateway checklist 67"""
    async with running(snapshot(upstream)) as rig:
        reply = await ask(rig, "POST", "responses", body_of(input="x", stream=True))
        made = next(
            json.loads(line[6:])["response"]["id"]
            for line in reply.body.decode().splitlines()
            if line.startswith("data: {") and '"response"' in line
        )
        follow = body_of(input="y", previous_response_id=made)
        assert (await ask(rig, "POST", "responses", follow)).status == 200
        assert (await ask(rig, "POST", "responses", follow, OTHER_TOKEN)).status == 404


async def test_a_thing_that_nobody_is_known_to_own_is_denied(shared: Rig) -> None:
    """gateway checklist 67: for example after a restart"""
    assert (await ask(shared, "GET", "files/file-unknown")).status == 404
