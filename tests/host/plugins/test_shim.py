"""The module ``dataiku`` for plugin code and notebooks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from byom.host.worker.dataiku_shim import FOLDER
from tests.host.plugins import samples

SURFACE = """
import dataiku
from dataiku.llm.python import BaseLLM, BaseEmbeddingModel, BaseRerankingModel
from dataiku.llm.python.types import SingleCompletionQuery, CompletionSettings, CompletionResponse
from dataiku.llm.python.custom.base_embedding_model import BaseEmbeddingModel as Older
from dataiku.llm.guardrails import BaseGuardrail
assert Older is BaseEmbeddingModel
class Mixin:
    def set_config(self, config, plugin_config):
        super().set_config(config, plugin_config)
class Model(Mixin, BaseLLM):
    def __init__(self):
        pass
model = Model()
model.set_config({"a": 1}, {"b": 2})
assert (model.config, model.plugin_config) == ({"a": 1}, {"b": 2})
print(dataiku.default_project_key(), dataiku.get_custom_variables())
"""


def run(code: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """In a Python that has the shim and nothing of byom."""
    return subprocess.run(
        [sys.executable, "-S", "-c", code], env={"PYTHONPATH": FOLDER, "PYTHONDONTWRITEBYTECODE": "1", **environ},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def test_what_plugins_import_is_there_with_the_standard_library_alone() -> None:
    done = run(SURFACE)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "DEFAULT {'projectKey': 'DEFAULT'}\n"


def test_its_folder_is_printed_for_notebooks() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "byom.host.worker.dataiku_shim"], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == FOLDER


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({}, "set the variable BYOM_URL"),
        ({"BYOM_URL": "http://localhost:8420"}, "set the variable BYOM_API_KEY"),
        ({"BYOM_URL": "http://localhost:8420", "BYOM_API_KEY": "k"}, "pip install dataiku-api-client six"),
    ],
)
def test_a_client_that_cannot_be_made_says_what_is_missing(environ: dict[str, str], told: str) -> None:
    done = run("import dataiku; dataiku.api_client()", **environ)
    assert told in done.stderr


def test_a_client_talks_to_the_hub_that_the_variables_name(tmp_path: Path) -> None:
    fake = "class DSSClient:\n    def __init__(self, *args, **options):\n        print(args, options)\n"
    samples.write(tmp_path, {"dataikuapi.py": fake})
    code = f"import sys; sys.path.append({str(tmp_path)!r}); import dataiku; dataiku.api_client()"
    done = run(code, BYOM_URL="http://localhost:8420/v1/", BYOM_API_KEY="sk-byom-1")
    assert done.stdout == "('http://localhost:8420', 'sk-byom-1') {}\n"


def test_langchains_classes_come_from_the_client(tmp_path: Path) -> None:
    code = "import dataiku.langchain as own, dataiku.langchain.dku_llm as older; print(older.DKUChatModel, own.DKULLM)"
    assert "needs the module dataikuapi: pip install dataiku-api-client six langchain-core" in run(code).stderr
    classes = {"dataikuapi/__init__.py": "", "dataikuapi/dss/__init__.py": "",
               "dataikuapi/dss/langchain/__init__.py": "DKUChatModel = 'chat'\nDKULLM = 'text'\n"}  # fmt: skip
    samples.write(tmp_path, classes)  # type: ignore[arg-type]
    assert run(f"import sys; sys.path.append({str(tmp_path)!r}); {code}").stdout == "chat text\n"
    assert "cannot import name 'nothing'" in run("from dataiku.langchain import nothing").stderr


def test_a_plugins_shared_code_can_be_used(tmp_path: Path) -> None:
    samples.typesafe(tmp_path / "typesafe")
    code = (
        "import dataiku; dataiku.use_plugin_libs('typesafe'); import typesafe_lib.configured as c; print(c.usage(1, 2))"
    )
    done = run(code, BYOM_PLUGINS=str(tmp_path))
    assert done.stdout == "{'promptTokens': 1, 'completionTokens': 2, 'totalTokens': 3}\n"
    assert "the plugin 'typesafe' is not here" in run(code).stderr
