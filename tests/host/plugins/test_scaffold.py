"""``byom plugin``: a folder to start from, shown, checked, built."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from byom.cli.main import app
from byom.errors import BadRequest, Conflict
from byom.host.plugins.configuration import ConfiguredModel, Preset, configuration
from byom.host.plugins.folder import examine, read
from byom.host.plugins.scaffold import scaffold
from byom.host.worker.contract import Context
from byom.host.worker.contracts.plugin import load
from byom.testing import Behavior, FakeUpstream
from tests.host.plugins import samples
from tests.host.plugins.wheels import wheel


def byom(*arguments: str, home: Path | None = None) -> Result:
    return CliRunner().invoke(app, arguments, env={"BYOM_HOME": str(home) if home else None}, prog_name="byom")


def test_a_new_plugin_has_nothing_wrong_with_it(tmp_path: Path) -> None:
    scaffold("my-models", tmp_path / "p")
    plugin, findings = examine(tmp_path / "p")
    assert findings.all == []
    assert plugin is not None
    assert (plugin.id, plugin.label, plugin.components[0].abilities) == ("my-models", "My models", ("chat",))


def test_a_new_plugin_answers_with_the_callers_key(tmp_path: Path) -> None:
    scaffold("my-models", tmp_path)
    with FakeUpstream(Behavior(text="Hello", prompt_tokens=4, completion_tokens=1)) as upstream:
        values = {"base_url": upstream.base_url, "model": "small"}
        preset = Preset(name="mine", parameter_set="credentials")
        document = configuration(read(tmp_path), [ConfiguredModel(name="m", values=values)], [preset])
        served = load(str(tmp_path), document)[0]
        config = {**document["models"][0]["config"], "credentials": {"api_key": "sk-ann"}}
        request = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 9}
        events = list(served.chat(request, Context(user="ann", config=config)))  # type: ignore[arg-type]
    assert events[0] == {"text": "Hello"}
    assert events[1]["usage"] == {"prompt_tokens": 4, "completion_tokens": 1}
    assert upstream.requests[0].header("authorization") == "Bearer sk-ann"
    assert upstream.requests[0].json()["max_tokens"] == 9


def test_the_tests_of_a_new_plugin_pass(tmp_path: Path) -> None:
    scaffold("my-models", tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "unittest", "discover", "tests"],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Ran 2 tests" in done.stderr


@pytest.mark.parametrize("name", ["", "a b", "../a", "-a", "ä", "a" * 101])
def test_a_name_that_no_plugin_can_have_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadRequest, match="is no name of a plugin"):
        scaffold(name, tmp_path / "p")


def test_what_is_there_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("")
    with pytest.raises(Conflict, match="not empty"):
        scaffold("a", tmp_path)


class TestTheCommands:
    def test_new_writes_and_says_what_is_next(self, tmp_path: Path) -> None:
        done = byom("plugin", "new", "my-models", "--dir", str(tmp_path / "p"))
        assert done.exit_code == 0
        assert f"byom plugin check {tmp_path / 'p'}" in done.stdout

    def test_show_has_models_parameters_and_packages(self, tmp_path: Path) -> None:
        shown = byom("plugin", "show", str(samples.tutorial(tmp_path))).stdout
        for expected in ("tutorial-llm-connection 0.0.1", "custom-chat-plugin", "(chat)", "each user's own", "openai"):
            assert expected in shown

    def test_show_gives_the_form_as_json(self, tmp_path: Path) -> None:
        form = json.loads(byom("plugin", "show", str(samples.typesafe(tmp_path)), "--json").stdout)
        assert [one["id"] for one in form["components"]] == ["jev-chat", "jev-reranker"]

    def test_install_unpacks_and_says_what_is_next(self, tmp_path: Path) -> None:
        made = shutil.make_archive(str(tmp_path / "made"), "zip", samples.typesafe(tmp_path / "p"))
        done = byom("plugin", "install", made, "--json", home=tmp_path / "home")
        assert read(json.loads(done.stdout)["folder"]).id == "typesafe"
        assert "byom add" in byom("plugin", "install", made, home=tmp_path / "home").stdout

    def test_check_is_content_with_a_right_plugin(self, tmp_path: Path) -> None:
        done = byom("plugin", "check", str(samples.tutorial(tmp_path)))
        assert (done.exit_code, done.stderr) == (0, "")
        assert "can be used: custom-chat-plugin" in done.stdout

    def test_check_lists_all_that_is_wrong_and_fails(self, tmp_path: Path) -> None:
        folder = samples.tutorial(tmp_path)
        samples.write(folder, {"plugin.json": "{}", "python-llms/custom-chat-plugin/llm.py": "import x, (\n"})
        done = byom("plugin", "check", str(folder))
        assert done.exit_code == 1
        assert "plugin.json:1: it has no id." in done.stderr
        assert "llm.py:1: it is no Python" in done.stderr
        found = json.loads(byom("plugin", "check", str(folder), "--json").stdout)
        assert {one["level"] for one in found} == {"error", "warning"}

    def test_build_makes_the_environment_and_names_its_python(self, tmp_path: Path) -> None:
        folder = samples.tutorial(tmp_path / "p", requirements="--no-index\n--find-links .\ntinyvendor\n")
        wheel(folder / "code-env" / "python" / "spec", "tinyvendor", "1.0", "VALUE = 42\n")
        done = byom("plugin", "build", str(folder), "--json", home=tmp_path / "home")
        assert done.exit_code == 0, done.stderr
        python = json.loads(done.stdout)["python"]
        assert subprocess.check_output([python, "-c", "import tinyvendor; print(tinyvendor.VALUE)"]) == b"42\n"
        assert "100%" in done.stderr
        asyncio.set_event_loop(None)

    def test_build_says_where_a_plugin_needs_none(self, tmp_path: Path) -> None:
        done = byom("plugin", "build", str(samples.typesafe(tmp_path)), home=tmp_path / "home")
        assert "needs no environment" in done.stdout

    def test_a_build_that_fails_ends_with_uvs_words(self, tmp_path: Path) -> None:
        folder = samples.tutorial(tmp_path / "p", requirements="--no-index\nno-such-package\n")
        done = byom("plugin", "build", str(folder), home=tmp_path / "home")
        assert done.exit_code == 1
        assert "no-such-package" in done.stderr
