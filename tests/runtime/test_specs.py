"""Specs in every form: read, checked, given back, kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from byom.errors import BadRequest, Conflict, NotFound
from byom.runtime.specs.problems import SpecInvalid
from byom.runtime.specs.read import read_spec
from byom.runtime.specs.registry import SpecRegistry
from byom.runtime.specs.render import describe, render_spec
from byom.runtime.specs.template import template_problem

NSQL: dict[str, Any] = {
    "version": 1,
    "model_name": "nsql-2B",
    "model_lang": ["en"],
    "model_ability": ["generate"],
    "model_specs": [
        {
            "model_format": "pytorch",
            "model_size_in_billions": 2,
            "quantizations": ["4-bit", "8-bit", "none"],
            "model_id": "NumbersStation/nsql-2B",
        }
    ],
    "prompt_style": None,
}


def nsql(**fields: Any) -> dict[str, Any]:
    return {**NSQL, **fields}


def entry(**fields: Any) -> dict[str, Any]:
    return nsql(model_specs=[{**NSQL["model_specs"][0], **fields}])


def test_version_1_becomes_a_variant_for_each_quantization() -> None:
    spec = read_spec(json.dumps(NSQL)).spec
    assert [variant.quantization for variant in spec.variants] == ["4-bit", "8-bit", "none"]
    assert spec.pick()[0].quantization == "none"
    assert spec.version == 1


@pytest.mark.parametrize("version", [1, 2])
def test_a_spec_given_back_is_read_as_the_same(version: Any) -> None:
    spec = read_spec(NSQL).spec
    again = read_spec(json.dumps(render_spec(spec, version))).spec
    assert again.variants == spec.variants
    assert again.abilities == spec.abilities


def test_version_2_and_toml_are_read() -> None:
    text = """
version = 2
model_name = "q"
model_lang = ["en"]
model_ability = ["chat", "tools"]
model_family = "qwen2.5-instruct"
chat_template = "{% for message in messages %}{{ message.content }}{% endfor %}"
[[model_specs]]
model_format = "ggufv2"
model_size_in_billions = "1_5"
quantization = "Q4_K_M"
model_id = "Qwen/q-GGUF"
model_file_name_template = "q-{quantization}.gguf"
"""
    (variant,) = read_spec(text).spec.variants
    assert (variant.size, variant.file_name) == ("1.5", "q-Q4_K_M.gguf")


@pytest.mark.parametrize("size", [1.5, "1.5", "1_5", "1.50"])
def test_sizes_are_understood_in_every_spelling(size: Any) -> None:
    assert read_spec(entry(model_size_in_billions=size)).spec.variants[0].size == "1.5"


@pytest.mark.parametrize(
    ("document", "path", "says"),
    [
        (nsql(version=3), "version", "Give 1 or 2"),
        (nsql(model_name="a b"), "model_name", "holds space"),
        (nsql(model_name="a/b"), "model_name", "holds /"),
        (nsql(model_name=".."), "model_name", "folder"),
        (nsql(model_name="x" * 201), "model_name", "201 characters"),
        (nsql(model_name="m-rep1"), "model_name", "replica"),
        (nsql(model_name=None), "model_name", "is missing"),
        (nsql(model_ability=["chta"]), "model_ability[0]", "Did you mean chat?"),
        (nsql(model_ability=[]), "model_ability", "is empty"),
        (nsql(model_ability=["generate", "tools"]), "model_ability", "tools without chat"),
        (nsql(model_specs=[]), "model_specs", "is empty"),
        (nsql(context_length=0), "context_length", "whole number from 1"),
        (nsql(reasoning_start_tag="<think>"), "reasoning_end_tag", "Give both tags"),
        (
            nsql(model_ability=["chat"], chat_template="{% for m in messages %}"),
            "chat_template",
            "leaves {% for %} open",
        ),
        (nsql(model_ability=["chat"], prompt_style={"style_name": "X"}), "prompt_style.style_name", "chat_template"),
        (entry(model_format="ggmlv3"), "model_specs[0].model_format", "convert the file to GGUF"),
        (entry(model_format="mlx"), "model_specs[0].model_format", "no engine"),
        (entry(model_format=None), "model_specs[0].model_format", "is missing"),
        (entry(model_format="ggufv2"), "model_specs[0].model_file_name_template", "Name the file"),
        (entry(quantizations=["2-bit"]), "model_specs[0].quantizations[0]", "none, 4-bit or 8-bit"),
        (entry(quantization="none"), "model_specs[0].quantizations", "Give one of the two"),
        (entry(quantizations="none"), "model_specs[0].quantizations", "not a list"),
        (entry(model_size_in_billions=None), "model_specs[0].model_size_in_billions", "is missing"),
        (entry(model_size_in_billions=-1), "model_specs[0].model_size_in_billions", "such as 7"),
        (entry(model_id=None), "model_specs[0].model_id", "so is model_uri"),
        (entry(model_id="a/b/c"), "model_specs[0].model_id", "organisation/name"),
        (entry(model_id="a/../b"), "model_specs[0].model_id", "organisation/name"),
        (entry(model_hub="modelscope"), "model_specs[0].model_hub", "does not fetch"),
        (entry(model_uri="a/b"), "model_specs[0].model_uri", "relative path"),
        (entry(model_uri="file://a/b"), "model_specs[0].model_uri", "three slashes"),
        (entry(model_uri="/no/such"), "model_specs[0].model_uri", "does not exist"),
        (entry(model_uri="zz9://x/y"), "model_specs[0].model_uri", "zz9"),
        (entry(model_revision="../x"), "model_specs[0].model_revision", "a branch, a tag"),
        (entry(sha256="abc"), "model_specs[0].sha256", "64 hexadecimal digits"),
    ],
)
def test_what_cannot_be_launched_is_refused_with_field_and_mend(document: dict[str, Any], path: str, says: str) -> None:
    with pytest.raises(SpecInvalid) as caught:
        read_spec(document, "LLM")
    (problem,) = [problem for problem in caught.value.problems if problem.path == path]
    assert says in str(problem)


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(SpecInvalid) as caught:
        read_spec({"model_name": "", "model_specs": [{}]})
    paths = {problem.path for problem in caught.value.problems}
    assert {"model_name", "model_ability", "model_specs[0].model_format", "model_specs[0].model_id"} <= paths
    assert caught.value.body()["error"]["details"]["problems"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "not JSON"),
        ('{"a": None}', "null, not None"),
        ("[1]", "a list"),
        ("", "is empty"),
        ("a = ", "neither JSON nor TOML"),
        (b"\xff\xfe{", "not UTF-8"),
        ('{"a": NaN}', "NaN"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_what_is_no_object_is_told(text: str | bytes, says: str) -> None:
    with pytest.raises(SpecInvalid, match=says):
        read_spec(text)


def test_an_unknown_type_is_told() -> None:
    with pytest.raises(BadRequest, match="Unsupported model type: image"):
        read_spec(NSQL, "image")


def test_the_flat_first_form_of_embedding_and_rerank_is_read() -> None:
    flat = {"model_name": "bge", "dimensions": 384, "max_tokens": 512, "language": ["en"], "model_id": "BAAI/bge"}
    spec = read_spec(flat).spec
    assert (spec.kind, spec.dimensions, spec.variants[0].model_id) == ("embedding", 384, "BAAI/bge")
    rerank = read_spec({"model_name": "r", "language": ["en"], "model_id": "BAAI/r"}, "rerank").spec
    assert describe(rerank, rerank.variants[0])["model_type"] == "rerank"


def test_a_prompt_style_becomes_a_template() -> None:
    style = {
        "style_name": "ADD_COLON_SINGLE",
        "system_prompt": "Be kind.",
        "roles": ["Human", "Bot"],
        "intra_message_sep": "\n",
        "stop": ["Human:"],
    }
    spec = read_spec(nsql(model_ability=["chat"], prompt_style=style)).spec
    assert spec.chat_template is not None
    assert template_problem(spec.chat_template) is None
    assert spec.stop == ("Human:",)
    jinja2 = pytest.importorskip("jinja2")
    messages = [{"role": "user", "content": "hi"}]
    text = jinja2.Template(spec.chat_template).render(messages=messages, add_generation_prompt=True)
    assert text == "Be kind.\nHuman: hi\nBot:"


def test_the_name_of_a_template_is_noted_and_the_weights_own_is_used() -> None:
    reading = read_spec(nsql(model_ability=["chat"], chat_template="qwen-chat"))
    assert reading.spec.chat_template is None
    assert "qwen-chat" in reading.notes[0]


def test_a_misspelt_field_is_noted() -> None:
    assert "Did you mean model_revision?" in read_spec(entry(model_revison="x")).notes[0]


def test_local_weights_are_looked_into(tiny_gguf: Path, tmp_path: Path) -> None:
    good = {"model_format": "ggufv2", "model_size_in_billions": 1, "quantization": "F32"}
    folder = {**good, "model_uri": str(tiny_gguf.parent), "model_file_name_template": "tiny.{quantization}.gguf"}
    assert read_spec(nsql(model_specs=[folder], model_ability=["chat"])).spec.variants[0].file_name == "tiny.F32.gguf"
    with pytest.raises(SpecInvalid, match=r"no config\.json"):
        read_spec(entry(model_uri=str(tmp_path), quantizations=["none"]))
    cut = tmp_path / "x.gguf"
    cut.write_bytes(tiny_gguf.read_bytes()[:1000])
    with pytest.raises(SpecInvalid, match="damaged in its head"):
        read_spec(nsql(model_specs=[{**good, "model_uri": str(cut)}]))


def test_specs_are_kept_where_asked_and_read_again(tmp_path: Path) -> None:
    registry = SpecRegistry(tmp_path, packaged=None)
    registry.register(NSQL, persist=True)
    registry.register(nsql(model_name="passing"), persist=False)
    again = SpecRegistry(tmp_path, packaged=None)
    assert [spec.name for spec in again.list()] == ["nsql-2B"]
    assert again.get("LLM", "nsql-2B").variants == registry.get("llm", "nsql-2B").variants
    assert again.unregister("LLM", "nsql-2B")
    assert not again.unregister("LLM", "nsql-2B")
    assert SpecRegistry(tmp_path, packaged=None).list() == ()


def test_a_refused_edit_keeps_what_was_there(tmp_path: Path) -> None:
    registry = SpecRegistry(tmp_path, packaged=None)
    registry.register(NSQL)
    with pytest.raises(Conflict, match="already registered"):
        registry.register(NSQL)
    with pytest.raises(SpecInvalid):
        registry.register(nsql(model_ability=["nothing"]), replace=True)
    assert registry.get("LLM", "nsql-2B").abilities == ("generate",)
    registry.register(nsql(context_length=77), replace=True)
    assert SpecRegistry(tmp_path, packaged=None).get("LLM", "nsql-2B").context_length == 77


def test_a_file_that_is_no_spec_is_left_and_told(tmp_path: Path) -> None:
    (tmp_path / "LLM").mkdir()
    (tmp_path / "LLM" / "x.json").write_text("{")
    registry = SpecRegistry(tmp_path, packaged=None)
    assert list(registry.broken) == [tmp_path / "LLM" / "x.json"]
    assert (tmp_path / "LLM" / "x.json").exists()
    with pytest.raises(NotFound, match="Model y not found"):
        registry.get("LLM", "y")
