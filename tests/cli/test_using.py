"""chat, embed, keys, users, prices, settings, usage, calls, with a hub and without."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable

from byom.client import Client
from byom.testing import Behavior, FakeUpstream
from tests.cli.program import Program

Names = Callable[[str], str]


def test_chat_prints_the_answer_of_a_prompt_or_of_standard_input(
    byom: Program, upstream: FakeUpstream, model: str
) -> None:
    upstream.set_default(Behavior(tokens=("one", " two")))
    for done in (byom("chat", model, "Hi"), byom("chat", model, given="Hi"), byom("chat", model, "Hi", "--no-stream")):
        assert (done.returncode, done.stdout) == (0, "one two\n"), done.stderr
    streamed = [request.json().get("stream", False) for request in upstream.requests]
    assert streamed == [True, True, False]
    byom("chat", model, "-", "--system", "Be brief.", "--temperature", "0", "--max-tokens", "5", given="Hi there")
    sent = upstream.requests[-1].json()
    assert [message["content"] for message in sent["messages"]] == ["Be brief.", "Hi there"]
    assert (sent["temperature"], sent["max_tokens"]) == (0, 5)


def test_chat_prints_json_whole(byom: Program, model: str) -> None:
    answer = json.loads(byom("chat", model, "Hi", "--json").stdout)
    assert answer["choices"][0]["message"]["content"] == "echo: Hi"
    assert answer["usage"]["completion_tokens"] == 2


def test_chat_shows_pieces_as_they_come(byom: Program, upstream: FakeUpstream, model: str) -> None:
    upstream.set_default(Behavior(tokens=("one", " two"), hang_after_chunks=1))
    process = subprocess.Popen(
        [sys.executable, "-m", "byom", "chat", model, "Hi"], env=byom.environ, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.read(3) == "one"
    process.terminate()
    process.wait(10)
    process.stdout.close()
    assert upstream.wait_for_disconnect_sync(5.0)


def test_without_a_prompt_at_a_terminal_chat_is_a_conversation(
    byom: Program, upstream: FakeUpstream, model: str
) -> None:
    master, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "byom", "chat", model],
        env=byom.environ,
        stdin=terminal,
        stdout=subprocess.PIPE,
        text=True,
    )
    os.close(terminal)
    os.write(master, b"first\nsecond\n/reset\nthird\n/exit\n")
    out, _ = process.communicate(timeout=30)
    os.close(master)
    assert process.returncode == 0
    assert "echo: first" in out
    asked = [[message["content"] for message in request.json()["messages"]] for request in upstream.requests]
    assert asked[0] == ["first"]
    assert (asked[1][0], asked[1][-1], len(asked[1])) == ("first", "second", 3)
    assert asked[2] == ["third"]


def test_an_unknown_model_and_an_empty_prompt_are_told_apart(byom: Program) -> None:
    unknown, empty = byom("chat", "no-such-model", "Hi"), byom("chat", "extractive", given="  \n")
    assert (unknown.returncode, empty.returncode) == (1, 2)
    assert "no-such-model" in unknown.stderr
    assert unknown.stdout == empty.stdout == ""


def test_embed_prints_a_vector_a_line(byom: Program) -> None:
    lines = byom("embed", "lexical", "one", "two").stdout.splitlines()
    vectors = [json.loads(line) for line in lines]
    assert len(vectors) == 2
    assert len(vectors[0]) == len(vectors[1])
    whole = json.loads(byom("embed", "lexical", "--json", given="one\n\ntwo\n").stdout)
    assert whole["vectors"] == vectors
    assert whole["usage"]["prompt_tokens"] > 0
    assert byom("embed", "lexical").returncode == 2


def test_a_new_key_stands_alone_on_standard_output_and_works(byom: Program, model: str, unused_name: Names) -> None:
    made = byom("keys", "create", unused_name("key"), "--model", model, "--rpm", "1", "--expires", "30d")
    token = made.stdout.strip()
    assert token.startswith("sk-byom-")
    assert token not in made.stderr
    assert byom("chat", model, "Hi", BYOM_API_KEY=token).returncode == 0
    limited = byom("chat", model, "Hi", BYOM_API_KEY=token)
    assert limited.returncode == 1
    assert "Try again in" in limited.stderr
    assert [one["name"] for one in json.loads(byom("models", "--json", BYOM_API_KEY=token).stdout)] == [model]
    assert token not in byom("keys", "list", "--json").stdout


def test_keys_are_listed_changed_and_revoked(byom: Program, client: Client, unused_name: Names) -> None:
    name = unused_name("key")
    key = json.loads(byom("keys", "create", name, "--json").stdout)["key"]["id"]
    assert name in byom("keys", "list").stdout
    assert byom("keys", "edit", key, "--tpm", "500", "--expires", "2099-01-01").returncode == 0
    assert client.keys.get(key)["limits"]["tokens_per_minute"] == 500
    assert byom("keys", "edit", key, "--no-limits", "--expires", "never").returncode == 0
    assert client.keys.get(key)["expires_at"] is None
    refused = byom("keys", "revoke", key)
    assert refused.returncode == 1
    assert client.keys.get(key)["state"] == "active"
    assert byom("keys", "revoke", key, "--yes").returncode == 0
    assert key not in [one["id"] for one in json.loads(byom("keys", "list", "--json").stdout)]
    assert key in [one["id"] for one in json.loads(byom("keys", "list", "--all", "--json").stdout)]


def test_a_key_is_named_by_its_name_where_only_one_has_it(byom: Program, client: Client, unused_name: Names) -> None:
    name = unused_name("key")
    first = client.keys.create(name)["key"]["id"]
    assert byom("keys", "edit", name, "--rpm", "7").returncode == 0
    assert client.keys.get(first)["limits"]["requests_per_minute"] == 7
    second = client.keys.create(name)["key"]["id"]
    ambiguous = byom("keys", "revoke", name, "--yes")
    assert ambiguous.returncode == 1
    assert first in ambiguous.stderr
    assert second in ambiguous.stderr
    assert byom("keys", "revoke", first, "--yes").returncode == 0
    done = byom("keys", "revoke", name, "--yes")
    assert done.returncode == 0, done.stderr
    assert second in done.stdout
    assert client.keys.get(second)["state"] == "revoked"
    gone = byom("keys", "revoke", name, "--yes")
    assert gone.returncode == 1
    assert "byom keys list" in gone.stderr


def test_users_prices_and_settings_are_managed(byom: Program, client: Client, unused_name: Names) -> None:
    user, pattern = unused_name("user"), unused_name("price") + "-*"
    assert byom("users", "create", user, "--budget", "20").returncode == 0
    assert byom("users", "edit", user, "--disable").returncode == 0
    listed = {one["name"]: one for one in json.loads(byom("users", "list", "--json").stdout)}
    assert listed[user]["disabled"] is True
    assert byom("users", "remove", user, "--yes").returncode == 0
    assert byom("prices", "set", pattern, "--input", "0.15", "--output", "0.6").returncode == 0
    assert pattern in byom("prices", "list").stdout
    assert byom("prices", "remove", pattern).returncode == 0
    assert byom("prices", "remove", pattern).returncode == 1
    assert byom("settings", "set", "keepalive_seconds=21").returncode == 0
    assert json.loads(byom("settings", "list", "--json").stdout)["keepalive_seconds"] == 21
    assert byom("settings", "unset", "keepalive_seconds").returncode == 0
    wrong = byom("settings", "set", "keepalive=21")
    assert wrong.returncode == 1
    assert "keepalive" in wrong.stderr


def test_usage_and_calls_tell_what_was_called(byom: Program, model: str) -> None:
    byom("chat", model, "Hi")
    calls = json.loads(byom("calls", "--model", model, "--json").stdout)
    assert [(row["model"], row["status"], row["cost"]) for row in calls["data"]] == [(model, 200, None)]
    lines = {line["name"]: line for line in json.loads(byom("usage", "--json", "--since", "1h").stdout)}
    assert lines[model]["calls"] == 1
    assert lines[model]["cost"] is None
    assert json.loads(byom("usage", "--by", "day", "--json").stdout)[0]["calls"] >= 1
    assert model in byom("calls", "--limit", "5").stdout
    assert model in byom("usage").stdout


def test_everything_works_without_a_running_hub_too(byom_alone: Program, upstream: FakeUpstream) -> None:
    assert byom_alone("connect", "box", "--url", upstream.url, "--all").returncode == 0
    done = byom_alone.process("chat", "fake-model", "Hi")
    assert (done.stdout, done.stderr) == ("echo: Hi\n", "")
    assert "fake-model" in byom_alone("usage").stdout


def test_the_admin_key_can_be_made_anew(byom_alone: Program, tmp_path: object) -> None:
    byom_alone("models")
    home = byom_alone.environ["BYOM_HOME"]
    with open(f"{home}/admin.key", encoding="ascii") as file:
        before = file.read()
    done = byom_alone("keys", "reset-admin", "--yes")
    assert done.returncode == 0, done.stderr
    with open(f"{home}/admin.key", encoding="ascii") as file:
        after = file.read()
    assert before != after
    assert after.strip() not in done.stdout
    assert byom_alone("models").returncode == 0
