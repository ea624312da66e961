"""connect, models, show, probe, edit, rename, remove, apply, export."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from byom._client.place import admin_key
from byom.cli.child_hub import child_hub
from byom.client import Client
from byom.testing import Behavior, FakeUpstream
from tests.cli.program import Program
from tests.client.hubs import RunningHub

Names = Callable[[str], str]
KEY = "sk-upstream-0123456789abcdef"


def test_connect_says_what_it_found_and_what_to_try(
    byom: Program, client: Client, upstream: FakeUpstream, unused_name: Names
) -> None:
    name, one = unused_name("box"), unused_name("small")
    upstream.models, upstream.api_key = (one,), KEY
    url = f"{upstream.base_url}/chat/completions"
    done = byom.process("connect", name, "--url", url, "--all", "--key-stdin", "--rate", "300/10", given=f"{KEY}\n")
    assert done.returncode == 0, done.stderr
    assert upstream.base_url in done.stdout
    assert f"byom chat {one}" in done.stdout
    assert KEY not in done.stdout + done.stderr
    shown = client.connections.get(name)
    assert shown["limits"]["rate_limit"] == [300, 10.0]
    assert shown["key_hint"] == KEY[-4:]
    assert byom("chat", one, "Hi").stdout.startswith("echo: Hi")
    client.connections.delete(name)


def test_the_key_comes_from_a_variable_and_is_never_echoed(
    byom: Program, client: Client, upstream: FakeUpstream, unused_name: Names
) -> None:
    name = unused_name("box")
    upstream.models, upstream.api_key = (unused_name("small"),), KEY
    done = byom("connect", name, "--url", upstream.base_url, "--key-env", "LAB_KEY", "--json", LAB_KEY=KEY)
    assert done.returncode == 0, done.stderr
    saved = json.loads(done.stdout)
    assert [model["name"] for model in saved["models"]] == list(upstream.models)
    shown = byom("show", name, "--connection")
    assert KEY not in done.stdout + done.stderr + shown.stdout
    client.connections.delete(name)


def test_headers_and_budget_reach_the_connection(
    byom: Program, client: Client, upstream: FakeUpstream, unused_name: Names
) -> None:
    name = unused_name("box")
    upstream.models = (unused_name("small"),)
    headers = ("--header", "X-Team: nlp", "--header", "X-Api-Key: s3cret")
    limits = ("--budget", "5.00/month", "--concurrency", "4")
    done = byom("connect", name, "--url", upstream.base_url, "--all", *headers, *limits)
    assert done.returncode == 0, done.stderr
    shown = client.connections.get(name)
    assert shown["headers"] == {"x-team": "nlp"}
    assert shown["secret_headers"] == ["x-api-key"]
    assert shown["limits"]["budget"]["period"] == "month"
    client.connections.delete(name)


def test_a_connection_that_does_not_work_is_explained_and_not_saved(
    byom: Program, client: Client, upstream: FakeUpstream, unused_name: Names
) -> None:
    name = unused_name("box")
    refused = byom("connect", name, "--url", "http://127.0.0.1:1", "--model", "m")
    unknown = byom("connect", name, "--url", upstream.base_url, "--model", "fake-modle")
    upstream.api_key = KEY
    locked = byom("connect", name, "--url", upstream.base_url, "--model", "m", "--key", "wrong-key-123")
    assert [done.returncode for done in (refused, unknown, locked)] == [1, 1, 1]
    assert "127.0.0.1 port 1" in refused.stderr
    assert "Did you mean 'fake-model'?" in unknown.stderr
    assert "401" in locked.stderr
    assert "wrong-key-123" not in locked.stderr
    assert "save_anyway" not in refused.stderr + unknown.stderr
    assert all(done.stdout == "" for done in (refused, unknown, locked))
    assert name not in [one["name"] for one in client.connections.list()]


def test_a_hub_is_not_connected_to_itself_whatever_it_is_called(
    byom: Program, client: Client, running_hub: RunningHub, unused_name: Names, tmp_path: Path
) -> None:
    name, port = unused_name("loop"), running_hub.url.rpartition(":")[2]
    for host in ("127.0.0.1", "localhost"):
        for key in ((), ("--key", running_hub.key)):
            done = byom("connect", name, "--url", f"http://{host}:{port}", "--all", *key)
            assert done.returncode == 1
            assert f"http://{host}:{port}/v1 is this hub itself" in done.stderr
    assert name not in [one["name"] for one in client.connections.list()]
    with child_hub(tmp_path / "other") as url:
        other = admin_key(tmp_path / "other")
        assert other is not None
        done = byom("connect", name, "--url", url, "--model", "lexical=other-lexical", "--key", other)
        assert done.returncode == 0, done.stderr
    client.connections.delete(name)


def test_the_hint_at_a_taken_name_can_be_followed(
    byom: Program, client: Client, upstream: FakeUpstream, unused_name: Names
) -> None:
    first, second, model = unused_name("box"), unused_name("box"), unused_name("small")
    upstream.models = (model,)
    assert byom("connect", first, "--url", upstream.base_url, "--model", model).returncode == 0
    refused = byom("connect", second, "--url", upstream.base_url, "--model", model)
    assert refused.returncode == 1
    advice = refused.stderr.split("another name: ")[1].split()
    assert advice == ["--model", f"{model}={second}/{model}"]
    followed = byom("connect", second, "--url", upstream.base_url, *advice)
    assert followed.returncode == 0, followed.stderr
    assert f"{second}/{model}" in followed.stdout
    other = unused_name("other")
    assert byom("connect", other, "--url", upstream.base_url, "--as", other).returncode == 0
    assert client.models.get(other)["upstream_model"] == model
    assert byom("connect", "x", "--url", upstream.base_url, "--all", "--as", "y").returncode == 2
    assert byom("connect", "x", "--url", upstream.base_url, "--model", "a=").returncode == 2
    for name in (first, second, other):
        client.connections.delete(name)


def test_without_a_model_the_only_one_is_taken_and_of_several_one_is_asked_for(
    byom: Program, client: Client, upstream: FakeUpstream, unused_name: Names
) -> None:
    name = unused_name("box")
    upstream.models = (unused_name("small"), unused_name("large"))
    several = byom("connect", name, "--url", upstream.base_url)
    assert several.returncode == 2
    assert upstream.models[1] in several.stderr
    upstream.models = (unused_name("single"),)
    assert byom("connect", name, "--url", upstream.base_url).returncode == 0
    assert client.models.get(upstream.models[0])["connection"] == name
    client.connections.delete(name)


def test_models_and_show_print_tables_and_json(byom: Program, model: str) -> None:
    assert model in byom("models").stdout
    listed = {one["name"]: one for one in json.loads(byom("models", "--json").stdout)}
    assert listed[model]["upstream_model"] == "fake-model"
    connection = listed[model]["connection"]
    only = json.loads(byom("models", "--connection", connection, "--json").stdout)
    assert [one["name"] for one in only] == [model]
    assert "fake-model" in byom("show", model).stdout
    assert json.loads(byom("show", connection, "--json").stdout)["models"] == [model]
    missing = byom("show", "extractiv")
    assert missing.returncode == 1
    assert "extractive" in missing.stderr


def test_models_says_whether_a_model_can_be_counted_on(byom: Program, upstream: FakeUpstream, model: str) -> None:
    def state() -> str:
        line = next(line for line in byom("models").stdout.splitlines() if line.startswith(f"{model} "))
        return line.rpartition("  ")[2]

    assert state() == "not called yet"
    upstream.set_default(Behavior(status=500))
    assert byom("chat", model, "Hi").returncode == 1
    assert state() == "failing"
    upstream.set_default(Behavior())
    assert byom("chat", model, "Hi").returncode == 0
    assert state() == "ready"
    byom("edit", model, "--disable")
    assert state() == "disabled"


def test_edit_and_rename_change_a_model(byom: Program, client: Client, model: str, unused_name: Names) -> None:
    new = unused_name("renamed")
    changes = "--price 0.15/0.60 --rpm 60 --fallback extractive --context-window 4096"
    edited = byom("edit", model, *changes.split())
    assert edited.returncode == 0, edited.stderr
    assert byom("edit", model, "--set", "timeouts.idle=12.5", "--set", "cache.seconds=60").returncode == 0
    shown = client.models.get(model)
    assert shown["limits"]["requests_per_minute"] == 60
    assert (shown["fallbacks"], shown["context_window"]) == (["extractive"], 4096)
    assert shown["timeouts"]["idle"] == 12.5
    assert byom("edit", model, "--unset", "cache").returncode == 0
    assert client.models.get(model)["cache"] is None
    assert byom("edit", model, "--url", "http://h").returncode == 2
    assert byom("rename", model, new).returncode == 0
    assert client.models.get(new)["name"] == new


def test_remove_says_what_stops_working_and_needs_consent(
    byom: Program, client: Client, upstream: FakeUpstream, unused_name: Names
) -> None:
    name, model = unused_name("box"), unused_name("small")
    upstream.models = (model,)
    client.connect(name, upstream.base_url, all=True)
    key = client.keys.create(unused_name("key"), models=[model])["key"]["id"]
    asked = byom("remove", name)
    assert asked.returncode == 1
    assert model in asked.stderr
    assert key in asked.stderr
    assert "--yes" in asked.stderr
    assert client.connections.get(name)["name"] == name
    assert json.loads(byom("remove", name, "--yes", "--json").stdout)["models"] == [model]
    assert byom("remove", name, "--yes").returncode == 1


def test_probe_says_what_it_spends_and_needs_consent(
    byom: Program, upstream: FakeUpstream, client: Client, model: str
) -> None:
    asked = byom("probe", model, "--kind", "chat")
    assert asked.returncode == 1
    assert "tokens" in asked.stderr
    assert upstream.requests == []
    done = byom("probe", model, "--kind", "chat", "--yes", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["findings"]["chat"]["value"] == "yes"
    assert "tools" in byom("probe", model, "--kind", "chat", "-y").stdout
    assert client.models.get(model)["details"]["probe"]


def test_probe_tells_each_finding_while_it_goes_on(byom: Program, upstream: FakeUpstream, model: str) -> None:
    done = byom("probe", model, "--kind", "chat", "--yes")
    lines = [line for line in done.stderr.splitlines() if line[:2] in ("✓ ", "✗ ", "? ")]
    assert len(lines) > 3
    assert lines[0].startswith("✓ chat: ")
    assert not any(line in done.stdout for line in lines)
    quiet = byom("probe", model, "--kind", "chat", "--yes", "--json")
    assert "✓" not in quiet.stderr
    # A later call hangs: what was found before it is told all the same.
    upstream.set_default(lambda request: Behavior(hang=b'"stream":true' in request.body.replace(b" ", b"")))
    process = subprocess.Popen(
        [sys.executable, "-m", "byom", "probe", model, "--kind", "chat", "--yes"],
        env=byom.environ,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    assert process.stderr is not None
    told = [process.stderr.readline(), process.stderr.readline()]
    running = process.poll() is None
    process.kill()
    process.communicate()
    assert told[0].startswith("Probing ")
    assert told[1].startswith("✓ chat: ")
    assert running


def test_probe_shows_that_it_works_at_a_terminal(byom: Program, model: str) -> None:
    master, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "byom", "probe", model, "--kind", "chat", "--yes"],
        env=byom.environ | {"TERM": "xterm"},
        stderr=terminal,
        stdout=subprocess.DEVNULL,
    )
    os.close(terminal)
    shown = b""
    with contextlib.suppress(OSError):  # how a terminal says that nobody writes any more
        while part := os.read(master, 4096):
            shown += part
    os.close(master)
    assert process.wait(30) == 0
    assert "Probing …".encode() in shown
    assert "✓ chat: ".encode() in shown


def test_errors_in_a_declaration_name_the_file_that_was_given(byom: Program, tmp_path: Path) -> None:
    file = tmp_path / "lab.toml"
    for text, says in (
        ("[connections.box]\nurl = 7\n", f"{file} line 2: [connections.box]"),
        ("[nonsense]\n", f"{file} line 1: there is no section [nonsense]"),
        ('[connections.box]\nurl = "8000"\n', f"{file} line 2: [connections.box] '8000' is a port"),
        ("= 1", f"{file} is not valid TOML"),
    ):
        file.write_text(text)
        done = byom("apply", str(file))
        assert done.returncode == 1
        assert says in done.stderr
        assert "byom.toml" not in done.stderr
    assert "standard input is not valid TOML" in byom("apply", "-", given="= 1").stderr


def test_what_is_exported_is_applied_without_a_change_and_deleting_needs_consent(
    byom_alone: Program, upstream: FakeUpstream, tmp_path: Path
) -> None:
    file = tmp_path / "byom.toml"
    box = f'[connections.box]\nurl = "{upstream.base_url}"\nkey_env = "BOX_KEY"\n\n[models.small]\nconnection = "box"\n'
    file.write_text(box)
    dry = byom_alone("apply", str(file), "--dry-run", BOX_KEY=KEY)
    assert dry.returncode == 0, dry.stderr
    assert "+ connection box" in dry.stdout
    applied = byom_alone("apply", str(file), "--json", BOX_KEY=KEY)
    assert json.loads(applied.stdout)["done"] is True
    exported = byom_alone("export")
    assert "[connections.box]" in exported.stdout
    assert KEY not in exported.stdout + applied.stdout
    file.write_text(exported.stdout)
    assert "Nothing differs" in byom_alone("apply", str(file), BOX_KEY=KEY).stdout
    file.write_text("")
    refused = byom_alone("apply", str(file))
    assert refused.returncode == 1
    assert "--yes" in refused.stderr
    assert byom_alone("apply", str(file), "--yes").returncode == 0
    assert "box" not in byom_alone("models").stdout
