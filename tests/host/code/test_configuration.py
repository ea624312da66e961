"""What a host is told while it runs, whose credentials reach the code, and code that cannot be loaded."""

from __future__ import annotations

import asyncio
import base64
import time

import pytest

from tests.host.code.conftest import ask, error_of, status, text_of, until, wait_for_end

PLUGIN = {
    "models": [
        {
            "name": "own",
            "config": {"temperature": 1, "api_key": {"region": "eu"}},
            "credentials": [{"param": "api_key", "preset": "OpenAI", "field": "key", "type": "SINGLE_FIELD"}],
        },
        {"name": "shared", "config": {"a": 1}},
    ],
    "users": {
        "u1": {"name": "ann", "credentials": {"OpenAI": {"key": "sk-of-ann"}}},
        "u2": {"name": "bob", "credentials": {"OpenAI": {"key": "sk-of-bob"}}},
        "u3": {"name": "cat"},
    },
    "hub_url": "http://hub:8420",
}


async def who(http, user: str | None, model: str = "own"):
    headers = {"x-byom-user": user} if user is not None else {}
    body = {"model": model, "messages": [{"role": "user", "content": "who"}]}
    return await http.post("/v1/chat/completions", json=body, headers=headers)


async def test_each_user_s_own_credential_reaches_the_code_and_no_other(host):
    async with host(**PLUGIN).client() as http:

        async def one(number: int) -> None:
            user, key = (("u1", "sk-of-ann"), ("u2", "sk-of-bob"))[number % 2]
            text = text_of(await who(http, user))
            assert text == f"{user}|{{'temperature': 1, 'api_key': {{'region': 'eu', 'key': '{key}'}}}}"

        await asyncio.gather(*(one(number) for number in range(100)))
        assert text_of(await who(http, None, "shared")) == "|{'a': 1}"


async def test_a_missing_credential_says_where_to_enter_it(host):
    async with host(**PLUGIN).client() as http:
        answer = await who(http, "u3")
        assert answer.status_code == 403
        assert error_of(answer) == {
            "message": "The credential 'key' of 'OpenAI' is missing for the user 'cat'. Enter it with: "
            "byom credentials set OpenAI, or PUT http://hub:8420/api/me/credentials.",
            "type": "permission_error",
            "param": None,
            "code": "credential_missing",
        }
        for stranger in (None, "", "u9"):
            assert error_of(await who(http, stranger))["code"] == "credential_missing"


async def test_a_change_of_credentials_needs_no_new_process(host):
    running = host(**PLUGIN)
    async with running.client() as http:
        assert "sk-of-ann" in text_of(await who(http, "u1"))
        pid = (await status(http))["workers"][0]["pid"]
        users = {**PLUGIN["users"], "u1": {"name": "ann", "credentials": {"OpenAI": {"key": "sk-new-one"}}}}
        answer = await http.put("/-/configuration", json={**running.config, "users": users})
        assert answer.status_code == 200
        assert "sk-new-one" in text_of(await who(http, "u1"))
        assert (await status(http))["workers"][0]["pid"] == pid


async def test_a_change_of_the_code_s_options_gives_a_new_process_and_ends_no_call(host):
    running = host()
    async with running.client() as http:
        assert text_of(await ask(http, "say before")) == "before"
        pid = (await status(http))["workers"][0]["pid"]
        slow = asyncio.create_task(ask(http, "sleep 1"))
        while not (await status(http))["workers"][0]["calls"]:
            pass
        await http.put("/-/configuration", json={**running.config, "options": {"models": [{"name": "extra"}]}})
        assert text_of(await ask(http, "say after", model="extra")) == "after"
        assert (await status(http))["workers"][0]["pid"] != pid
        assert text_of(await slow) == "slept"


async def test_a_wrong_configuration_is_refused_without_its_values(host):
    running = host()
    async with running.client() as http:
        answer = await http.put("/-/configuration", json={**running.config, "workers": "sk-secret"})
        assert answer.status_code == 400
        assert "workers" in answer.text
        assert "sk-secret" not in answer.text
        assert (await http.put("/-/configuration", content=b"{")).status_code == 400
        assert (await http.post("/-/configuration", json=running.config)).status_code == 405


async def test_secrets_are_kept_out_of_logs_and_errors(host):
    async with host(**PLUGIN, options={"api_key": "sk-in-options"}).client() as http:
        await ask(http, "tell sk-of-ann and sk-in-options")
        log = "\n".join((await http.get("/-/logs")).json()["lines"])
        assert "out: [secret] and [secret]" in log
        message = error_of(await ask(http, "fail wrong key sk-of-bob"))["message"]
        assert message == "ValueError: wrong key [secret]"
        assert "sk-of-bob" not in "\n".join((await http.get("/-/logs")).json()["lines"])


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("missing", "there is no object 'missing'; there are: a, b"),
        ("raises", "The code cannot be loaded: KeyError: 'OPENAI_API_KEY'"),
        ("exits", "The code ended its process while it was loaded (exit code 9)."),
    ],
)
async def test_code_that_cannot_be_loaded_says_why(host, target, reason):
    async with host(target=target).client() as http:
        listing = await http.get("/v1/models")
        assert listing.status_code == 503
        assert error_of(listing)["code"] == "model_failed"
        assert reason in error_of(listing)["message"]
        called = await ask(http, "say x")
        assert reason in error_of(called)["message"]
        assert int(called.headers["retry-after"]) >= 1
        found = await status(http)
        assert found["status"] == "failed"
        assert found["models"][0]["error"] == reason


async def test_code_that_never_finishes_loading_is_given_up(host):
    async with host(target="sleeps", load_timeout=0.5).client() as http:
        assert (await status(http))["models"][0]["state"] == "loading"
        assert "was not loaded within 0.5 s" in error_of(await ask(http, "say x"))["message"]


async def test_a_host_that_is_stopped_while_it_loads_leaves_nothing(host):
    for _ in range(3):
        running = host(target="sleeps")
        async with running.client() as http:
            pid = (await status(http))["workers"][0]["pid"]
        started = time.monotonic()
        await asyncio.to_thread(running.stop)
        assert time.monotonic() - started < 2.9  # it is not the last resort that ends it
        assert running.process.returncode == 0
        if pid is not None:
            await asyncio.to_thread(wait_for_end, pid)


async def test_code_that_could_not_be_loaded_is_tried_again(host, tmp_path):
    async with host(target=f"when {tmp_path / 'there'}").client() as http:
        assert "not yet" in error_of(await ask(http, "say x"))["message"]
        (tmp_path / "there").touch()

        async def ready():
            return (await status(http))["status"] == "ok"

        await until(ready)
        assert text_of(await ask(http, "say loaded")) == "loaded"


async def test_code_that_could_not_be_loaded_recovers_with_its_configuration(host):
    running = host(target="missing")
    async with running.client() as http:
        assert error_of(await ask(http, "say x"))["code"] == "model_failed"
        await http.put("/-/configuration", json={**running.config, "target": "odd"})
        assert text_of(await ask(http, "say recovered")) == "recovered"


async def test_a_model_that_does_not_get_ready_says_so_and_recovers(host, tmp_path):
    obstacle = tmp_path / "obstacle"
    obstacle.touch()
    async with host(options={"fail_while_exists": str(obstacle)}).client() as http:
        answer = await ask(http, "say x")
        assert answer.status_code == 503
        assert "RuntimeError: the weights are not there" in error_of(answer)["message"]
        states = {one["name"]: one for one in (await status(http))["models"]}
        assert states["sync"]["state"] == "failed"
        assert "weights" in states["sync"]["error"]
        assert states["async"]["state"] == "ready"
        assert text_of(await ask(http, "await 0", model="async"))
        obstacle.unlink()

        async def ready():
            return all(one["state"] == "ready" for one in (await status(http))["models"])

        await until(ready)
        assert text_of(await ask(http, "say light")) == "light"


async def test_the_token_may_stand_in_the_path_or_be_a_password(host):
    running = host()
    async with running.client(headers={"Authorization": ""}) as http:
        assert (await http.get("/v1/models")).status_code == 401
        assert (await http.get("/agentstudio/wrong/v1/models")).status_code == 401
        assert (await http.get("/agentstudio/secret/v1/models")).status_code == 200
        assert (await http.get(f"{running.url}//health")).status_code == 200
        basic = base64.b64encode(b"anyone:secret").decode()
        assert (await http.get("/v1/models", headers={"Authorization": f"Basic {basic}"})).status_code == 200
        assert (await http.get("/-/logs")).status_code == 401
        assert "workers" not in await status(http)
