"""A function in a file becomes a model of the hub."""

from __future__ import annotations

import json
from pathlib import Path

import httpx2
import pytest

from byom.server.hub import Hub
from tests.server.code.asking import add, ask, error_of, text_of
from tests.server.code.samples import rewrite
from tests.server.processes import alive, until


async def test_a_function_becomes_a_model_with_the_limits_and_the_price_that_it_says(
    admin: httpx2.AsyncClient, echo: Path
) -> None:
    made = await add(admin, f"{echo}:echo")
    (model,) = made["models"]
    assert (made["connection"]["name"], made["connection"]["kind"]) == ("echo", "code")
    assert made["connection"]["options"] == {"target": f"{echo}:echo", "form": "function"}
    assert (model["name"], model["context_window"], model["limits"]["rate_limit"]) == ("echo", 4096, [4000, 10])
    assert (model["own_price"]["input"], model["own_price"]["output"]) == ("1", "2")
    assert text_of(await ask(admin, "echo")) == "one: hello"
    answer = await ask(admin, "custom:echo:echo", "again")
    assert text_of(answer) == "one: again"
    assert answer.json()["usage"]["total_tokens"] == 8
    calls = (await admin.get("/api/calls?limit=1")).json()["data"]
    assert (calls[0]["connection"], calls[0]["cost"]) == ("echo", "0.000013")


@pytest.mark.parametrize(("called", "connection"), [("local-vision", "local-vision"), ("org/local", "Local")])
async def test_the_connection_of_a_class_has_the_name_that_the_class_gives_itself(
    admin: httpx2.AsyncClient, tmp_path: Path, called: str, connection: str
) -> None:
    path = tmp_path / "local.py"
    path.write_text(
        f"class Local:\n    name = {called!r}\n\n"
        "    def generate_response(self, messages, **kwargs):\n        return 'x', {}\n"
    )
    made = await add(admin, f"{path}:Local")
    assert (made["connection"]["name"], made["models"][0]["name"]) == (connection, called)
    again = await admin.post("/api/connections/code", json={"target": f"{path}:Local"})
    assert again.status_code == 409, again.text
    assert "give another name" in again.json()["error"]["message"]


async def test_a_probe_keeps_abilities_that_it_could_not_tell(admin: httpx2.AsyncClient, echo: Path) -> None:
    await add(admin, f"{echo}:echo")
    await admin.patch("/api/models/echo", json={"abilities": ["chat", "rerank", "tools", "vision"]})
    probed = await admin.post("/api/models/echo/probe?spend=true")
    assert probed.status_code == 200, probed.text
    findings = probed.json()["findings"]
    assert (findings["tools"]["value"], findings["vision"]["value"]) == ("unknown", "no")
    found = (await admin.get("/api/models/echo")).json()["abilities"]
    assert {"chat", "rerank", "tools"} <= set(found)
    assert "vision" not in found


async def test_an_embedding_function_embeds(admin: httpx2.AsyncClient, echo: Path) -> None:
    made = await add(admin, f"{echo}:embed", name="vectors")
    assert made["models"][0]["abilities"] == ["embed"]
    answer = await admin.post("/v1/embeddings", json={"model": "lengths", "input": ["a", "bcd"]})
    assert answer.status_code == 200, answer.text
    assert [one["embedding"] for one in answer.json()["data"]] == [[1.0, 1.0], [3.0, 1.0]]


async def test_nothing_runs_before_the_first_call_unless_it_is_eager(
    hub: Hub, admin: httpx2.AsyncClient, echo: Path
) -> None:
    await add(admin, f"{echo}:echo")
    assert (await admin.get("/api/connections/echo/host")).json()["state"] == "cold"
    await add(admin, f"{echo}:embed", name="early", eager=True)
    await until(lambda: _is(admin, "early", "ready"))
    assert (await hub.code.states())["echo"].state == "cold"


async def _is(admin: httpx2.AsyncClient, name: str, state: str) -> bool:
    return bool((await admin.get(f"/api/connections/{name}/host")).json()["state"] == state)


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("{echo}:nothing", "has no 'nothing'"),
        ("{echo}:broken", ""),
        ("{echo}.gone.py:echo", "there is no"),
        ("models.py:echo", "whole path"),
        ("no_such_module:thing", "no_such_module"),
    ],
)
async def test_what_is_wrong_with_the_code_is_said_and_nothing_is_saved(
    hub: Hub, admin: httpx2.AsyncClient, echo: Path, target: str, said: str
) -> None:
    body = {"target": target.format(echo=echo), "name": "bad"}
    refused = await admin.post("/api/connections/code", json=body)
    assert refused.status_code == 400, refused.text
    assert said in refused.json()["error"]["message"]
    assert hub.catalog.state.connection("bad") is None


async def test_adding_tells_how_far_it_is_where_that_is_asked_for(admin: httpx2.AsyncClient, echo: Path) -> None:
    kinds = []
    async with admin.stream(
        "POST", "/api/connections/code", json={"target": f"{echo}:echo"}, headers={"accept": "text/event-stream"}
    ) as response:
        async for line in response.aiter_lines():
            if line.startswith("event: "):
                kinds.append(line.removeprefix("event: "))
            elif line.startswith("data: "):
                last = json.loads(line.removeprefix("data: "))
    assert kinds[0] == "loading"
    assert kinds[-1] == "report"
    assert last["models"][0]["name"] == "echo"
    async with admin.stream(
        "POST", "/api/connections/code", json={"target": f"{echo}:x"}, headers={"accept": "text/event-stream"}
    ) as response:
        text = (await response.aread()).decode()
    assert '"status":400' in text.rpartition("event: error")[2]


async def test_what_a_person_sets_stays_and_what_is_put_back_follows_the_code(
    hub: Hub, admin: httpx2.AsyncClient, echo: Path
) -> None:
    await add(admin, f"{echo}:echo")
    changed = await admin.patch("/api/models/echo", json={"context_window": 100})
    assert changed.json()["context_window"] == 100
    assert "context_window" not in changed.json()["from_code"]
    rewrite(echo, ("4096", "8192"), ("(4000, 10)", "(50, 1)"), ('"one"', '"two"'))
    assert (await admin.post("/api/connections/echo/restart")).json()["state"] == "ready"
    await until(lambda: hub.catalog.models.get("echo").limits.rate_limit == (50, 1.0))
    assert hub.catalog.models.get("echo").context_window == 100, "it was set by a person"
    assert text_of(await ask(admin, "echo")) == "two: hello"
    back = await admin.patch("/api/models/echo", json={"context_window": None})
    assert back.json()["context_window"] == 8192


async def test_the_log_has_what_the_code_prints_and_the_trace_of_what_it_raises(
    admin: httpx2.AsyncClient, echo: Path
) -> None:
    await add(admin, f"{echo}:echo")
    await ask(admin, "echo", "something to find")
    refused = await ask(admin, "echo", "raise")
    assert "the code does not like this" in error_of(refused, 502, "code_error")
    await until(lambda: _in_log(admin, "ValueError: the code does not like this"))
    assert await _in_log(admin, "asked something to find")
    assert len((await admin.get("/api/connections/echo/logs?lines=2")).text.splitlines()) == 2
    async with admin.stream("GET", "/api/connections/echo/logs?lines=0&follow=true") as response:
        pieces = response.aiter_text()
        await ask(admin, "echo", "while it is read")
        found = ""
        while "while it is read" not in found:
            found += await anext(pieces)


async def _in_log(admin: httpx2.AsyncClient, text: str) -> bool:
    return text in (await admin.get("/api/connections/echo/logs")).text


async def test_a_failing_code_says_why_and_others_go_on(admin: httpx2.AsyncClient, echo: Path) -> None:
    await add(admin, f"{echo}:echo")
    await add(admin, f"{echo}:embed", name="vectors")
    rewrite(echo, ("import asyncio", "raise RuntimeError('not today')"))
    state = (await admin.post("/api/connections/echo/restart")).json()
    assert state["state"] == "failed"
    assert "not today" in state["reason"]
    assert (await admin.get("/api/connections/echo")).json()["host"]["state"] == "failed"
    assert (await admin.get("/api/models/echo")).json()["state"] == "failing"
    refused = await ask(admin, "echo")
    assert refused.status_code == 503, refused.text
    assert "not today" in refused.json()["error"]["message"]
    assert text_of(await ask(admin, "extractive", "A first sentence. A second one."))


async def test_a_connection_that_goes_takes_its_process_along(hub: Hub, admin: httpx2.AsyncClient, echo: Path) -> None:
    await add(admin, f"{echo}:echo")
    await ask(admin, "echo")
    pid = _pid(hub)
    renamed = await admin.patch("/api/connections/echo", json={"name": "other"})
    assert renamed.status_code == 200, renamed.text
    assert text_of(await ask(admin, "other/echo")) == "one: hello"
    assert _pid(hub) == pid
    await admin.patch("/api/connections/other", json={"enabled": False})
    await until(lambda: not alive(pid))
    assert (await admin.get("/api/connections/other/host")).json()["state"] == "disabled"
    await admin.patch("/api/connections/other", json={"enabled": True})
    assert text_of(await ask(admin, "echo")) == "one: hello"
    assert (await admin.delete("/api/connections/other")).json()["models"] == ["echo"]
    assert (await ask(admin, "echo")).status_code == 404


def _pid(hub: Hub) -> int:
    assert hub._own_code is not None
    (host,) = hub._own_code._hosts.values()
    assert host._child is not None
    assert host._child.pid is not None
    return host._child.pid
