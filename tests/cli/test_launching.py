"""``byom register``, ``launch``, ``ps``, ``logs`` and ``stop``, with real weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.program import Program
from tests.server.launching.specs import gguf_spec


@pytest.fixture
def spec(tmp_path: Path, unused_name: Callable[[str], str]) -> tuple[str, str]:
    """The name of a spec, and its file."""
    name = unused_name("cli-tiny")
    path = tmp_path / "spec.json"
    path.write_text(json.dumps(gguf_spec(tmp_path, name)))
    return name, str(path)


def test_weights_are_registered_launched_seen_asked_and_stopped(byom: Program, spec: tuple[str, str]) -> None:
    name, path = spec
    registered = byom("register", path)
    assert registered.returncode == 0, registered.stderr
    assert f"byom launch {name}" in registered.stdout
    assert name in byom("specs").stdout
    assert json.loads(byom("specs", name).stdout)["model_name"] == name
    explained = byom("launch", name, "--explain")
    assert "llama.cpp" in explained.stdout
    assert "chosen" in explained.stdout
    launched = byom("launch", name, "--replicas", "2", "--set", "n_batch=64", "--context", "128")
    assert launched.returncode == 0, launched.stderr
    assert f"{name} is ready" in launched.stdout
    assert "Starting llama.cpp" in launched.stderr
    again = byom("launch", name)
    assert again.returncode == 1
    assert "launched already" in again.stderr
    (line,) = [line for line in byom("ps").stdout.splitlines() if line.startswith(name)]
    assert "2/2" in line
    shown = json.loads(byom("ps", "--json").stdout)
    assert name in [one["uid"] for one in shown["launches"]]
    assert byom("chat", name, "Hello", "--max-tokens", "3").returncode == 0
    assert "ready" in byom("logs", name).stdout
    assert byom("stop", name, "--unload").returncode == 0
    assert "unloaded" in byom("ps").stdout
    stopped = byom("stop", name)
    assert stopped.stdout == f"✓ stopped {name}\n"
    assert byom("unregister", name).returncode == 0
    gone = byom("stop", name)
    assert gone.returncode == 1
    assert "not found" in gone.stderr


def test_a_spec_that_cannot_be_launched_is_refused_with_every_problem(byom: Program, tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text('model_name = "my model"\n[[model_specs]]\nmodel_format = "ggmlv3"\n')
    refused = byom("register", str(path), "--type", "LLM")
    assert refused.returncode == 1
    assert "model_name" in refused.stderr
    assert "model_specs[0].model_format" in refused.stderr
    assert byom("register", str(tmp_path / "none.json")).stderr.startswith("Error: ")


def test_engines_and_cached_weights_are_listed(byom: Program) -> None:
    engines = {one["name"]: one for one in json.loads(byom("engines", "--json").stdout)}
    assert engines["llama.cpp"]["usable"]
    assert "WHY NOT" in byom("engines").stdout
    assert isinstance(json.loads(byom("cached", "--json").stdout), list)


def test_wrong_usage_of_launch_is_said_with_exit_code_2(byom: Program) -> None:
    assert byom("launch", "x", "--n-gpu", "many").returncode == 2
    assert byom("launch", "x", "--gpu-idx", "0,a").returncode == 2
    assert byom("launch", "x", "--replicas", "0").returncode == 2
