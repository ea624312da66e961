"""Values of parameters, presets, and what the host is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from byom.errors import ConfigError
from byom.host.plugins.configuration import ConfiguredModel, Preset, configuration, parameter_sets_of
from byom.host.plugins.folder import Plugin, read
from byom.host.plugins.parameters import Choice, Parameter
from byom.host.plugins.values import coerced, merged
from tests.host.plugins import samples

MAIN = Preset(name="main", parameter_set="service", plugin_values={"tenant": "t-secret"})


def parameter(kind: str, **fields: Any) -> Parameter:
    return Parameter(name="p", type=kind, label="", **fields)


@pytest.fixture
def typesafe(tmp_path: Path) -> Plugin:
    return read(samples.typesafe(tmp_path))


class TestAValue:
    @pytest.mark.parametrize(
        ("kind", "given", "expected"),
        [
            ("STRING", "a", "a"), ("STRING", 5, "5"), ("PASSWORD", "s", "s"), ("TEXTAREA", "a\nb", "a\nb"),
            ("INT", 5, 5), ("INT", "5", 5), ("INT", 5.0, 5), ("DOUBLE", "0.5", 0.5), ("DOUBLE", 1, 1.0),
            ("BOOLEAN", True, True), ("BOOLEAN", "false", False), ("BOOLEAN", "yes", True),
            ("DATE", "2026-03-31", "2026-03-31"), ("DATE", "2026-03-31T12:00:00Z", "2026-03-31T12:00:00Z"),
            ("STRINGS", ["a"], ["a"]), ("STRINGS", "a, b", ["a", "b"]), ("STRINGS", '["a", "b, c"]', ["a", "b, c"]),
            ("INTS", "1,2", [1, 2]), ("DOUBLES", [1, "2.5"], [1.0, 2.5]),
            ("MAP", {"a": "b"}, {"a": "b"}), ("MAP", '{"a": 1}', {"a": 1}),
            ("KEY_VALUE_LIST", [{"from": "a", "to": "b"}], [{"from": "a", "to": "b"}]),
            ("KEY_VALUE_LIST", {"a": "b"}, [{"from": "a", "to": "b"}]),
            ("ARRAY", [{"x": 1}], [{"x": 1}]), ("LLM", "custom:a:b", "custom:a:b"),
            ("CONNECTIONS", ["a", "b"], ["a", "b"]), ("DATASET", "d", "d"), ("HOLOGRAM", "x", "x"),
        ],
    )  # fmt: skip
    def test_is_brought_to_its_type(self, kind: str, given: Any, expected: Any) -> None:
        found = coerced(parameter(kind), given, "model m")
        assert found == expected
        assert type(found) is type(expected)

    @pytest.mark.parametrize(
        ("kind", "given", "told"),
        [
            ("INT", "five", "takes a whole number, not 'five'"), ("INT", 5.5, "a whole number"),
            ("INT", True, "a whole number"), ("INT", "nan", "a whole number"), ("DOUBLE", [], "takes a number"),
            ("DOUBLE", "inf", "takes a number"), ("BOOLEAN", "perhaps", "true or false"),
            ("BOOLEAN", 1, "true or false"),
            ("DATE", "31.03.2026", "a date such as"), ("STRINGS", 5, "a list"), ("MAP", "[]", "names and values"),
            ("MAP", "{", "names and values"), ("KEY_VALUE_LIST", ["a"], "a list of"), ("OBJECT_LIST", {}, "objects"),
            ("STRING", {"a": 1}, "takes text"), ("INTS", ["a"], "a whole number"),
        ],
    )  # fmt: skip
    def test_of_another_kind_is_refused_with_what_is_taken(self, kind: str, given: Any, told: str) -> None:
        with pytest.raises(ConfigError) as caught:
            coerced(parameter(kind), given, "model m")
        assert str(caught.value).startswith("model m: p takes ")
        assert told in str(caught.value)
        assert caught.value.param == "p"

    def test_must_be_within_its_bounds(self) -> None:
        with pytest.raises(ConfigError, match="a whole number of at least 1 and at most 600"):
            coerced(parameter("INT", minimum=1, maximum=600), 0, "m")

    def test_must_be_one_of_its_choices(self) -> None:
        select = parameter("SELECT", choices=(Choice("eu", "Europe"), Choice("us", "America")))
        assert coerced(select, "us", "m") == "us"
        assert coerced(select, "europe", "m") == "eu"
        with pytest.raises(ConfigError, match="one of eu, us, not 'mars'"):
            coerced(select, "mars", "m")

    def test_of_choices_that_a_script_makes_may_be_anything(self) -> None:
        assert coerced(parameter("SELECT"), "mars", "m") == "mars"

    def test_in_a_table_is_told_with_its_row(self) -> None:
        table = parameter("OBJECT_LIST", fields=(Parameter(name="n", type="INT", label="", default=3),))
        assert coerced(table, [{"n": "1"}, {}], "m") == [{"n": 1}, {"n": 3}]
        with pytest.raises(ConfigError, match="m: p, row 2: n takes a whole number"):
            coerced(table, [{"n": 1}, {"n": "x"}], "m")

    def test_that_is_secret_is_not_repeated(self) -> None:
        with pytest.raises(ConfigError) as caught:
            coerced(parameter("PASSWORD"), ["hunter2"], "m")
        assert "hunter2" not in str(caught.value)

    def test_may_be_declared_in_two_ways(self) -> None:
        twice = (parameter("INT", visible_if="model.a"), parameter("STRING", visible_if="!model.a", default="d"))
        assert merged(twice, {"p": "text"}, "m") == {"p": "text"}
        assert merged(twice, {"p": "5"}, "m") == {"p": 5}
        assert merged(twice, {}, "m") == {"p": "d"}

    def test_that_is_required_may_be_missing_where_it_may_be_hidden(self) -> None:
        assert merged((parameter("STRING", required=True, visible_if="model.a"),), {}, "m") == {}
        with pytest.raises(ConfigError, match="m: p is missing"):
            merged((parameter("STRING", required=True),), {"p": ""}, "m")

    def test_of_a_misspelt_name_is_refused_with_the_right_one(self) -> None:
        with pytest.raises(ConfigError, match=r"there is no parameter 'modle'\. Did you mean 'model'\?"):
            merged((Parameter(name="model", type="STRING", label=""),), {"modle": "x"}, "m")


class TestTheDocument:
    def test_of_the_tutorials_plugin_is_what_its_text_describes(self, tmp_path: Path) -> None:
        plugin = read(samples.tutorial(tmp_path))
        model = ConfiguredModel(name="gpt", values={"model": "gpt-x", "api_key": "OpenAI"})
        document = configuration(plugin, [model], [Preset(name="OpenAI", parameter_set="parameter-custom-llm")])
        assert document == {
            "plugin_config": {},
            "plugin_secrets": [],
            "models": [
                {
                    "name": "gpt",
                    "component": "custom-chat-plugin",
                    "abilities": ["chat"],
                    "config": {"model": "gpt-x", "api_key": {}},
                    "credentials": [
                        {
                            "param": "api_key", "preset": "OpenAI", "field": "param_set_api_key",
                            "type": "SINGLE_FIELD", "label": "The API key",
                        }
                    ],
                    "secrets": [],
                }
            ],
        }  # fmt: skip

    def test_has_defaults_presets_and_the_plugins_settings(self, typesafe: Plugin) -> None:
        model = ConfiguredModel(name="jev", component="jev-chat", values={"connection": "main", "temperature": "1"})
        document = configuration(typesafe, [model], [MAIN], {"region": "us"})
        assert document["plugin_config"] == {"region": "us"}
        entry = document["models"][0]
        assert entry["config"] == {
            "timeout_sec": 30,
            "temperature": 1.0,
            "connection": {"url": "https://typesafe.example", "tenant": "t-secret"},
        }
        assert [(one["field"], one["type"]) for one in entry["credentials"]] == [
            ("login", "BASIC"),
            ("token", "OAUTH2"),
        ]
        assert entry["secrets"] == ["connection.tenant"]

    def test_takes_the_only_preset_where_none_is_named(self, typesafe: Plugin) -> None:
        document = configuration(typesafe, [ConfiguredModel(name="jev", component="jev-chat")], [MAIN])
        assert document["models"][0]["credentials"][0]["preset"] == "main"

    @pytest.mark.parametrize(
        ("model", "presets", "told"),
        [
            ({"component": "nothing"}, [MAIN], "there is no component 'nothing'. Choose one of: jev-chat"),
            ({"component": None}, [MAIN], "it has several components. Choose one of"),
            ({}, [], "connection needs a preset of the parameter set service"),
            ({"values": {"connection": "other"}}, [MAIN], "there is no preset 'other' of service (there are: main)"),
            ({"values": {"connection": {"url": "x"}}}, [MAIN], "needs each user's own credential (login, token)"),
            ({"values": {"timeout_sec": 0}}, [MAIN], "model jev: timeout_sec takes a whole number of at least 1"),
            ({"values": {"timeout": 5}}, [MAIN], "there is no parameter 'timeout'. Did you mean 'timeout_sec'?"),
            ({"abilities": ("sing",)}, [MAIN], "'sing' is none of chat, embed, rerank"),
        ],
    )
    def test_is_not_made_of_what_does_not_fit(
        self, typesafe: Plugin, model: dict[str, Any], presets: list[Preset], told: str
    ) -> None:
        with pytest.raises(ConfigError) as caught:
            configuration(typesafe, [ConfiguredModel(**{"name": "jev", "component": "jev-chat", **model})], presets)
        assert told in str(caught.value)

    def test_names_what_is_secret_of_the_plugins_own_settings(self, tmp_path: Path) -> None:
        folder = samples.ollama(tmp_path)
        params = [{"name": "token", "type": "PASSWORD"}]
        samples.write(folder, {"plugin.json": {"id": "x", "version": "1", "params": params}})
        document = configuration(read(folder), [], plugin_values={"token": "t"})
        assert (document["plugin_config"], document["plugin_secrets"]) == ({"token": "t"}, ["token"])

    def test_has_no_users_credentials_in_the_plugins_own_settings(self, tmp_path: Path) -> None:
        folder = samples.tutorial(tmp_path)
        params = [{"name": "key", "type": "PRESET", "parameterSetId": "parameter-custom-llm"}]
        samples.write(folder, {"plugin.json": {"id": "x", "version": "1", "params": params}})
        preset = Preset(name="OpenAI", parameter_set="parameter-custom-llm")
        with pytest.raises(ConfigError, match="make it a parameter of the models"):
            configuration(read(folder), [], [preset])

    def test_passes_over_values_of_parameters_that_an_update_took_away(self, typesafe: Plugin) -> None:
        model = ConfiguredModel(name="jev", component="jev-chat", values={"gone": 1})
        document = configuration(typesafe, [model], [MAIN], {"gone": 2}, strict=False)
        assert "gone" not in document["models"][0]["config"]

    def test_has_inline_values_where_a_parameter_set_allows_them(self, tmp_path: Path) -> None:
        folder = samples.ollama(tmp_path)
        params = [{"name": "server", "type": "PRESET", "parameterSetId": "server"}]
        samples.write(
            folder,
            {
                "python-llms/ollama/llm.json": {"params": params},
                "parameter-sets/server/parameter-set.json": {
                    "defaultDefinableInline": True,
                    "params": [{"name": "port", "type": "INT", "defaultValue": 11434}],
                },
            },
        )
        plugin = read(folder)
        given = [
            ConfiguredModel(name="a", values={"server": {"port": "80"}}),
            ConfiguredModel(name="b"),
        ]
        document = configuration(plugin, given)
        assert [one["config"] for one in document["models"]] == [{"server": {"port": 80}}, {"server": {"port": 11434}}]

    def test_needs_presets_of_the_parameter_sets_that_a_component_names(self, typesafe: Plugin) -> None:
        assert [one.id for one in parameter_sets_of(typesafe, typesafe.component("jev-chat"))] == ["service"]
