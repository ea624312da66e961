"""Code on the command line: add, logs, restart, presets, credentials."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from byom.cli.add import wanted_models, whole_target
from byom.client import Client
from tests.cli.program import Program
from tests.dialects.agentstudio.test_upstream import model_server
from tests.server.code.samples import rewrite, write_echo, write_plugin

Names = Callable[[str], str]
SECRET = "sk-secret-of-mine-0123456789"


@pytest.fixture
def connection(client: Client, unused_name: Names) -> Iterator[str]:
    """A name for a connection; what has it in the end is deleted."""
    name = unused_name("code")
    yield name
    if name in {one["name"] for one in client.connections.list()}:
        client.connections.delete(name)


def test_a_function_is_added_and_asked(byom: Program, tmp_path: Path, connection: str) -> None:
    path = write_echo(tmp_path)
    added = byom("add", f"{path}:echo", "--name", connection, "--workers", "1", "--key", SECRET)
    assert added.returncode == 0, added.stderr
    assert f"added {connection} (function) with 1 model" in added.stdout
    assert "Loading the code" in added.stderr
    assert SECRET not in added.stdout + added.stderr
    asked = byom("chat", f"{connection}/echo", "hello")
    assert asked.stdout.strip() == "one: hello"
    rewrite(path, ('"one"', '"two"'))
    restarted = byom("restart", connection)
    assert f"restarted {connection}; it is ready" in restarted.stdout
    assert byom("chat", f"{connection}/echo", "hello").stdout.strip() == "two: hello"
    shown = byom("logs", connection, "-n", "200")
    assert "asked hello" in shown.stdout
    assert "asked hello" in byom("logs", f"{connection}/echo").stdout, "the name of a model does as well"
    assert f"restarted {connection}" in byom("restart", f"{connection}/echo").stdout
    state = json.loads(byom("restart", connection, "--json").stdout)
    assert state["state"] == "ready"


def test_what_is_wrong_with_code_is_one_line(byom: Program, tmp_path: Path) -> None:
    path = write_echo(tmp_path)
    done = byom("add", f"{path}:nothing", "--name", "never")
    assert done.returncode == 1
    assert "nothing" in done.stderr.splitlines()[-1]
    missing = byom("logs", "never")
    assert (missing.returncode, "never" in missing.stderr) == (1, True)


def test_a_plugin_its_presets_and_ones_own_credentials(byom: Program, tmp_path: Path, connection: str) -> None:
    folder = write_plugin(tmp_path / "plugin")
    added = byom("add", str(folder), "--name", connection, "--model", f"custom-chat-plugin:{connection}-m",
                 "--set", "greeting=Dear ", "--preset", "api_key=OpenAI")  # fmt: skip
    assert added.returncode == 0, added.stderr
    assert f"byom credentials set {connection}" in added.stdout
    presets = json.loads(byom("presets", "list", connection, "--json").stdout)
    assert [one["name"] for one in presets] == ["OpenAI"]
    made = byom("presets", "create", connection, "east", "--set", "region=us", "--secret-stdin", "shared", given=SECRET)
    assert made.returncode == 0, made.stderr
    assert "…6789" in byom("presets", "show", connection, "east").stdout
    assert byom("presets", "edit", connection, "east", "--set", "region=asia").returncode == 0
    gone = byom("presets", "remove", connection, "east", "--yes")
    assert gone.returncode == 0, gone.stderr
    assert "missing" in byom("credentials", "list").stdout
    kept = byom("credentials", "set", connection, given=f"{SECRET}\n")
    assert kept.returncode == 0, kept.stderr
    assert SECRET not in kept.stdout + kept.stderr
    assert byom("chat", f"{connection}-m", "hello").stdout.strip() == f"Dear {SECRET}"
    listed = json.loads(byom("credentials", "list", "--json").stdout)
    (own,) = [one for one in listed if one["connection"] == connection]
    assert (own["is_set"], own["hint"], "value" in own) == (True, "6789", False)
    empty = byom("credentials", "set", connection, given="\n")
    assert empty.returncode == 2
    removed = byom("credentials", "remove", "OpenAI", "--yes")
    assert removed.returncode == 0, removed.stderr
    nothing = byom("credentials", "remove", "OpenAI", "--yes")
    assert nothing.returncode == 1


def test_code_works_without_a_hub_that_runs(byom_alone: Program, tmp_path: Path) -> None:
    path = write_echo(tmp_path / "code")
    added = byom_alone.process("add", f"{path}:echo")
    assert added.returncode == 0, added.stderr
    assert byom_alone.process("chat", "echo", "alone").stdout.strip() == "one: alone"


def test_a_file_of_a_byom_toml_is_looked_for_beside_it(byom_alone: Program, tmp_path: Path) -> None:
    write_echo(tmp_path / "code")
    declared = tmp_path / "code" / "byom.toml"
    declared.write_text('[connections.fn]\nkind = "code"\noptions.target = "models.py:echo"\nmodels = ["echo"]\n')
    applied = byom_alone.process("apply", str(declared))
    assert applied.returncode == 0, applied.stderr
    assert byom_alone.process("chat", "echo", "declared").stdout.strip() == "one: declared"


def test_targets_are_whole_before_they_are_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    here = tmp_path.resolve()
    assert whole_target("models.py:echo") == f"{here}/models.py:echo"
    assert whole_target("./plugin") == f"{here}/plugin"
    assert whole_target("plugin") == f"{here}/plugin"
    assert whole_target("package.module:Class") == "package.module:Class"
    assert whole_target("/srv/code.py:a.b") == "/srv/code.py:a.b"


def test_parameters_go_to_all_models_or_to_one() -> None:
    assert wanted_models(None, {}) is None
    assert wanted_models(None, {"a": 1}) == [{"params": {"a": 1}}]
    assert wanted_models(["c:one", "c:two"], {"a": 1, "two": {"b": 2}}) == [
        {"id": "c", "name": "one", "params": {"a": 1}},
        {"id": "c", "name": "two", "params": {"a": 1, "b": 2}},
    ]
    assert wanted_models(["echo"], {}) == [{"id": "echo"}]


def test_agentstudios_model_server_is_connected_by_its_url(byom: Program, connection: str) -> None:
    with model_server() as url:
        whole = url.replace("http://", "http://ann:s3cret-word@") + "/"
        connected = byom(
            "connect", connection, "--url", whole, "--dialect", "agentstudio", "--model", f"gpt-4o={connection}-m",
            "--rpm", "50",
        )  # fmt: skip
        assert connected.returncode == 0, connected.stderr
        assert f"connected {connection}" in connected.stdout or f"added {connection}" in connected.stdout
        asked = byom("chat", f"{connection}-m", "hello")
        assert asked.returncode == 0, asked.stderr
        assert "hello" in asked.stdout
        shown = byom("show", connection, "--json").stdout + byom("export").stdout
        assert "s3cret" not in shown
        assert '"requests_per_minute": 50' in shown


def test_a_dialect_without_a_list_of_models_wants_them_named(byom: Program) -> None:
    done = byom("connect", "never", "--url", "http://localhost:1", "--dialect", "agentstudio")
    assert done.returncode == 2
    assert "--model" in done.stderr
