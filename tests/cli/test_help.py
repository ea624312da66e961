"""Help, wrong usage, completion, start-up."""

from __future__ import annotations

import json
import resource
import subprocess
import sys

import pytest
import typer.main
from typer.testing import CliRunner

from byom.cli.main import COMMANDS, app
from tests.cli.program import Program

_GROUPS = {
    name: tuple(command.commands)
    for name in COMMANDS
    if hasattr(command := typer.main.get_command(app).get_command(None, name), "commands")  # type: ignore[attr-defined]
}
_ALL = [(name,) for name in COMMANDS] + [(name, inner) for name, inners in _GROUPS.items() for inner in inners]
_LEAVES = [path for path in _ALL if path[0] not in _GROUPS or len(path) == 2]
_LISTS = ("models", "keys list", "users list", "prices list", "settings list", "usage", "calls")


@pytest.fixture
def runner() -> CliRunner:
    return CliRunner(env={"COLUMNS": "200", "TERM": "dumb"})


@pytest.mark.parametrize("path", _LEAVES, ids=" ".join)
def test_the_help_of_every_command_has_an_example_of_it(runner: CliRunner, path: tuple[str, ...]) -> None:
    result = runner.invoke(app, [*path, "--help"])
    assert result.exit_code == 0, result.output
    assert "Examples:" in result.stdout
    assert f"byom {' '.join(path)}" in result.stdout.split("Examples:", 1)[1]


def test_the_first_help_names_every_command_of_the_contract(runner: CliRunner) -> None:
    shown = runner.invoke(app, ["--help"]).stdout
    for name in (
        "serve",
        "demo",
        "connect",
        "models",
        "show",
        "probe",
        "remove",
        "chat",
        "embed",
        "keys",
        "usage",
        "doctor",
    ):
        assert f" {name} " in shown


@pytest.mark.parametrize("command", ["create", "list", "revoke"])
def test_keys_has_the_commands_of_the_contract(command: str) -> None:
    assert command in _GROUPS["keys"]


@pytest.mark.parametrize("name", _LISTS)
def test_every_list_takes_json(runner: CliRunner, name: str) -> None:
    assert "--json" in runner.invoke(app, [*name.split(), "--help"]).stdout


@pytest.mark.parametrize(
    "line",
    [
        "nonsense",
        "chat",
        "connect x",
        "connect x --url http://h --model a --all",
        "connect x --url http://h --rate 10",
        "connect x --url http://h --budget 5/fortnight",
        "connect x --url http://h --header nothing",
        "connect x --url http://h --key-env NOT_SET_ANYWHERE",
        "connect x --url http://h --key a --key-stdin",
        "usage --by colour",
        "calls --limit 0",
        "edit extractive",
        "usage --since yesterdayish",
    ],
)
def test_wrong_usage_ends_with_2_and_says_so_on_standard_error(runner: CliRunner, line: str) -> None:
    result = runner.invoke(app, line.split(), env={"BYOM_URL": "http://127.0.0.1:1"})
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert "Error" in result.stderr


def test_a_mistyped_command_is_answered_with_the_one_that_was_meant(runner: CliRunner) -> None:
    assert "'models'" in runner.invoke(app, ["modles"]).stderr


def test_where_no_hub_answers_the_exit_code_is_1_and_the_message_says_what_to_do(byom_alone: Program) -> None:
    done = byom_alone.process("models", BYOM_URL="http://127.0.0.1:1")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "byom serve" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_version_is_printed(byom_alone: Program) -> None:
    assert byom_alone("version").stdout == byom_alone("--version").stdout
    assert json.loads(byom_alone("version", "--json").stdout)["version"]


def test_the_shell_completes_commands_and_the_names_of_models(byom: Program, model: str) -> None:
    def complete(words: str) -> str:
        return byom.process("chat", COMP_WORDS=words, COMP_CWORD="2", _BYOM_COMPLETE="complete_bash").stdout

    found = complete("byom chat model-").split()
    assert model in found
    assert all(name.startswith("model-") for name in found)
    commands = byom.process(COMP_WORDS="byom mod", COMP_CWORD="1", _BYOM_COMPLETE="complete_bash").stdout
    assert "models" in commands


def test_completion_without_a_hub_is_silent(byom_alone: Program) -> None:
    done = byom_alone.process(COMP_WORDS="byom chat x", COMP_CWORD="2", _BYOM_COMPLETE="complete_bash")
    assert (done.stdout.strip(), done.stderr) == ("", "")


def test_help_and_lists_start_quickly(byom: Program) -> None:
    def best(*args: str) -> float:
        took = []
        for _ in range(3):
            began = own_time()
            assert byom.process(*args).returncode == 0
            took.append(own_time() - began)
        return min(took)

    def own_time() -> float:
        """Of the programs that have ended: what others do on this machine does not count."""
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    # Generous: on a machine of its own these take 0.3 s and 0.5 s.
    assert best("--help") < 1.5
    assert best("models") < 2.5


def test_a_command_imports_nothing_of_the_server() -> None:
    heavy = ("httpx2", "fastapi", "sqlalchemy", "pydantic", "byom.server")
    code = (
        "import sys; from byom.cli.main import app; import typer.main\n"
        "group = typer.main.get_command(app)\n"
        "[group.get_command(None, name) for name in group.list_commands(None)]\n"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
