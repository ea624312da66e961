"""Reading a plugin's folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from byom.host.plugins.folder import digest_of, examine, read
from byom.host.plugins.form import form_of
from byom.host.plugins.problems import PluginError
from tests.host.plugins import samples

LLM = "from dataiku.llm.python import BaseLLM\nclass M(BaseLLM):\n    pass\n"


def plugin_with(folder: Path, **files: Any) -> Path:
    """A right plugin, and these files over it; ``__`` in a name is ``/``."""
    right: dict[str, Any] = {
        "plugin.json": {"id": "x", "version": "1.0.0"},
        "python-llms/c/llm.json": {"params": []},
        "python-llms/c/llm.py": LLM,
    }
    return samples.write(folder, {**right, **files})


def test_the_tutorials_plugin_is_read_with_its_comments(tmp_path: Path) -> None:
    plugin = read(samples.tutorial(tmp_path))
    assert (plugin.id, plugin.version, plugin.label) == ("tutorial-llm-connection", "0.0.1", "Tutorial LLM connection")
    component = plugin.components[0]
    assert (component.id, component.label, component.abilities) == ("custom-chat-plugin", "Custom chat", ("chat",))
    assert [one.name for one in component.parameters] == ["model", "api_key"]
    assert plugin.parameter_sets[0].credentials[0].credential == "SINGLE_FIELD"
    assert plugin.code_env is not None
    assert plugin.code_env.interpreters == ("3.9", "3.11")


def test_what_is_not_about_models_is_passed_over(tmp_path: Path) -> None:
    plugin = read(samples.typesafe(tmp_path))
    assert {one.id: one.abilities for one in plugin.components} == {"jev-chat": ("chat",), "jev-reranker": ("rerank",)}
    assert plugin.code_env is None


def test_several_abilities_of_one_component_are_seen(tmp_path: Path) -> None:
    assert read(samples.ollama(tmp_path)).components[0].abilities == ("chat", "embed")


def test_the_form_has_typed_fields(tmp_path: Path) -> None:
    form = form_of(read(samples.typesafe(tmp_path)))
    fields = {field["name"]: field for field in form["components"][0]["fields"]}
    assert fields["timeout_sec"] == {
        "name": "timeout_sec", "type": "INT", "input": "integer", "label": "timeout_sec", "required": False,
        "secret": False, "default": 30, "minimum": 1, "maximum": 600,
    }  # fmt: skip
    assert fields["connection"]["parameter_set"] == "service"
    assert fields[""]["input"] == "heading"
    assert form["fields"][0]["choices"][0] == {"value": "eu", "label": "Europe"}
    service = form["parameter_sets"][0]
    assert [(one["name"], one["type"]) for one in service["credentials"]] == [("login", "BASIC"), ("token", "OAUTH2")]
    assert service["admin_fields"][0]["secret"]
    json.dumps(form)


def test_a_visibility_condition_is_kept_as_it_is_written(tmp_path: Path) -> None:
    params = [
        {"name": "a", "type": "STRING", "visibilityCondition": "model.kind == 'x'"},
        {"name": "a", "type": "INT", "visibilityCondition": False},
    ]
    plugin = read(plugin_with(tmp_path, **{"python-llms/c/llm.json": {"params": params}}))
    assert [one.visible_if for one in plugin.components[0].parameters] == ["model.kind == 'x'", False]


class TestWhatIsWrong:
    @pytest.mark.parametrize(
        ("files", "expected"),
        [
            ({"plugin.json": '{"id": "x"\n"version": "1"}'}, "plugin.json:2: a comma or } was expected"),
            ({"plugin.json": {"version": "1"}}, 'plugin.json:1: it has no id. Add "id"'),
            ({"plugin.json": '{\n"id": "a/b"}'}, "plugin.json:2: the id 'a/b' is not allowed."),
            ({"plugin.json": "[]"}, "plugin.json:1: it is no JSON object."),
            ({"python-llms/c/llm.py": "def (:\n"}, "python-llms/c/llm.py:1: it is no Python"),
            ({"python-llms/c/llm.py": "x = 1\n"}, "it has no class of a model. Derive one from BaseLLM"),
            ({"python-llms/d/llm.py": LLM}, "python-llms/d/llm.json: it is missing."),
            ({"python-llms/d/llm.json": "{}"}, "python-llms/d/llm.py: it is missing."),
            (
                {"python-llms/c/llm.json": '{"params": [\n{"name": "a"}]}'},
                "python-llms/c/llm.json:2: this parameter has no type.",
            ),
            (
                {"python-llms/c/llm.json": '{"params": [{"type": "INT",\n"name": "1a"}]}'},
                "python-llms/c/llm.json:2: '1a' is no name of a parameter.",
            ),
            ({"python-llms/c/llm.json": {"params": [{"type": "INT"}]}}, "this INT has no name."),
            ({"python-llms/c/llm.json": {"params": {"type": "INT"}}}, "params is no list."),
            ({"python-llms/c/llm.json": {"params": ["a"]}}, "a parameter is an object"),
            ({"python-llms/c/llm.json": {"params": [{"type": "SELECT", "name": "a"}]}}, "nothing to choose from"),
            ({"python-llms/c/llm.json": {"params": [{"type": "PRESET", "name": "a"}]}}, "which parameter set"),
            (
                {"python-llms/c/llm.json": {"params": [{"type": "PRESET", "name": "a", "parameterSetId": "no"}]}},
                "a is of the parameter set 'no', which is not there. Write parameter-sets/no/parameter-set.json",
            ),
            (
                {"python-llms/c/llm.json": {"params": [{"type": "CREDENTIAL_REQUEST", "name": "a"}]}},
                "which only a parameter set can do",
            ),
            (
                {"parameter-sets/p/parameter-set.json": {"params": [
                    {"type": "CREDENTIAL_REQUEST", "name": "a", "credentialRequestSettings": {"type": "MAGIC"}}]}},
                "a requests a credential of type MAGIC. Use one of SINGLE_FIELD, BASIC, OAUTH2.",
            ),
        ],
    )  # fmt: skip
    def test_is_said_with_file_line_and_mend(self, tmp_path: Path, files: dict[str, Any], expected: str) -> None:
        with pytest.raises(PluginError) as caught:
            read(plugin_with(tmp_path, **files))
        assert expected in str(caught.value)

    def test_is_said_all_at_once(self, tmp_path: Path) -> None:
        broken = {"python-llms/c/llm.json": {"params": [{"name": "a"}, {"type": "INT"}]}, "plugin.json": {}}
        _, findings = examine(plugin_with(tmp_path, **broken))
        assert len(findings.errors) == 3

    def test_includes_a_folder_that_is_one_too_high(self, tmp_path: Path) -> None:
        plugin_with(tmp_path / "inner")
        with pytest.raises(PluginError, match="did you mean its folder inner"):
            read(tmp_path)

    def test_includes_bytes_that_are_no_text(self, tmp_path: Path) -> None:
        plugin_with(tmp_path)
        (tmp_path / "plugin.json").write_bytes(b'{"id": "\xff"}')
        with pytest.raises(PluginError, match="it is not UTF-8"):
            read(tmp_path)

    def test_includes_models_in_java(self, tmp_path: Path) -> None:
        folder = samples.write(tmp_path, {"plugin.json": {"id": "x"}, "java-llms/a/jllm.json": {}})
        with pytest.raises(PluginError, match="models in Java"):
            read(folder)

    def test_a_type_that_is_not_known_is_only_a_warning(self, tmp_path: Path) -> None:
        params = {"params": [{"type": "HOLOGRAM", "name": "a", "defaultValue": "x"}]}
        plugin = read(plugin_with(tmp_path, **{"python-llms/c/llm.json": params}))
        assert "HOLOGRAM, which is not known" in str(plugin.warnings[0])


class TestTheDigest:
    def test_changes_with_content_and_names(self, tmp_path: Path) -> None:
        folder = plugin_with(tmp_path)
        digests = {digest_of(folder)}
        (folder / "resource").mkdir()
        (folder / "resource" / "a").write_text("1")
        digests.add(digest_of(folder))
        (folder / "resource" / "a").rename(folder / "resource" / "b")
        digests.add(digest_of(folder))
        assert len(digests) == 3

    def test_does_not_change_with_caches_and_places(self, tmp_path: Path) -> None:
        one, other = plugin_with(tmp_path / "one"), plugin_with(tmp_path / "other")
        samples.write(other, {"python-llms/c/__pycache__/llm.cpython-311.pyc": "x", ".git/HEAD": "x"})
        assert digest_of(one) == digest_of(other)
