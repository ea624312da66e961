"""Which classes of a plugin are models, and what keeps them from being loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from byom.host.worker.contract import LoadError
from byom.host.worker.contracts.plugin import load
from tests.host.plugins import samples
from tests.host.plugins.calling import FOUR, METHODS, chat, one_model, text_of


class TestLoading:
    def test_a_class_without_a_base_is_a_chat_model_where_it_is_the_only_one(self, tmp_path: Path) -> None:
        served = one_model(tmp_path, "class MyLLM:\n" + METHODS["process"])
        assert text_of(chat(served)) == "process"

    def test_a_class_from_shared_code_is_found(self, tmp_path: Path) -> None:
        samples.write(tmp_path / "one", {"python-lib/shared_of_one.py": FOUR + METHODS["process"]})
        served = one_model(tmp_path, "from shared_of_one import Some\n")
        assert text_of(chat(served)) == "process"

    def test_of_a_class_and_its_own_base_the_derived_one_is_taken(self, tmp_path: Path) -> None:
        code = FOUR + METHODS["process"] + "class Derived(Some):\n    pass\n"
        assert one_model(tmp_path, code).description.details["classes"] == {"chat": "Derived"}

    def test_two_classes_are_named_and_one_can_be_chosen(self, tmp_path: Path) -> None:
        code = FOUR + METHODS["process"] + "class Other(BaseLLM):\n" + METHODS["process"]
        with pytest.raises(LoadError, match=r"2 classes for chat: Other, Some\. Keep one, or name it"):
            one_model(tmp_path, code)
        chosen = one_model(tmp_path, code, **{"class": "Other"})
        assert chosen.description.details["classes"] == {"chat": "Other"}

    def test_a_missing_package_is_named_with_the_file_to_add_it_to(self, tmp_path: Path) -> None:
        with pytest.raises(LoadError, match=r"c/llm\.py:2: there is no module 'nowhere'\. .*requirements\.txt"):
            one_model(tmp_path, "\nimport nowhere\n")

    def test_a_syntax_error_has_its_line(self, tmp_path: Path) -> None:
        with pytest.raises(LoadError, match=r"c/llm\.py:3: "):
            one_model(tmp_path, "a = 1\nb = 2\ndef (:\n")

    def test_a_component_that_is_not_there_is_told_with_those_that_are(self, tmp_path: Path) -> None:
        folder = samples.typesafe(tmp_path)
        with pytest.raises(LoadError, match=r"no component 'jev'.*jev-chat, jev-reranker"):
            load(str(folder), {"models": [{"name": "m", "component": "jev"}]})

    def test_an_ability_that_no_class_has_is_refused(self, tmp_path: Path) -> None:
        folder = samples.typesafe(tmp_path)
        with pytest.raises(LoadError, match="no class for embed: write one that is derived from BaseEmbeddingModel"):
            load(str(folder), {"models": [{"name": "m", "component": "jev-chat", "abilities": ["embed"]}]})

    def test_without_a_list_of_models_each_component_is_one(self, tmp_path: Path) -> None:
        served = load(str(samples.typesafe(tmp_path)), {})
        assert [one.description.name for one in served] == ["jev-chat", "jev-reranker"]
