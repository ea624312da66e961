"""The weights inside the package: they are what their card says, and answer questions about BYOM."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest
from training.guide import facts, measure

from tests.runtime.guide_commands import wrong_with

WEIGHTS = Path(str(resources.files("byom.runtime"))) / "guide"
LARGEST = 8_000_000
LEAST_USEFUL = 0.7
EVERY = 2
"""Of the held-out questions every second one is asked; `python -m training.guide.measure` asks all."""

needs_engine = pytest.mark.skipif(
    importlib.util.find_spec("xllamacpp") is None, reason="xllamacpp is not installed: pip install xllamacpp"
)


def document(name: str) -> dict[str, object]:
    found = json.loads((WEIGHTS / name).read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


def test_the_packaged_weights_are_those_that_spec_and_card_name() -> None:
    digest = hashlib.sha256((WEIGHTS / "guide.gguf").read_bytes()).hexdigest()
    specs = document("guide.json")["model_specs"]
    assert isinstance(specs, list)
    assert [entry["sha256"] for entry in specs] == [digest]
    assert document("card.json")["sha256"] == digest


def test_the_packaged_weights_are_small() -> None:
    size = (WEIGHTS / "guide.gguf").stat().st_size
    assert size == document("card.json")["bytes"]
    assert size <= LARGEST


def test_no_held_out_question_can_be_made_by_the_patterns() -> None:
    held = {bare(one.question): one.question for part in ("dev", "test") for one in facts.held_out(part)}
    taught = set()
    for fact in facts.load().values():
        for pattern in (*fact.questions, *fact.topics):
            made = re.compile(pattern.expression())
            taught |= {question for text, question in held.items() if made.fullmatch(text)}
    assert taught == set()


def bare(question: str) -> str:
    return "".join(facts.plain(question).strip(" ?.!").split())


def test_each_held_out_question_names_facts_that_exist() -> None:
    known = set(facts.load())
    for part in ("dev", "test"):
        assert {name for held in facts.held_out(part) for name in held.facts} <= known


def test_the_answers_name_only_commands_and_options_that_exist() -> None:
    wrong = {
        f"{fact.name}: {code}: {problem}"
        for fact in facts.load().values()
        for code in fact.code
        if re.match(r"(echo .*\| *)?byom( |$)", code) and (problem := wrong_with(code))
    }
    assert wrong == set()


@needs_engine
def test_the_packaged_weights_answer_held_out_questions_usefully() -> None:
    known = facts.load()
    with measure.engine(WEIGHTS / "guide.gguf") as model:
        results = measure.measure(model, facts.held_out("test")[::EVERY], known)
    wrong = [f"{held.question} -> {answer}" for held, answer, good in results if not good]
    assert len(results) >= 40
    assert 1 - len(wrong) / len(results) >= LEAST_USEFUL, "\n".join(wrong)


@needs_engine
def test_the_packaged_weights_stream_and_count_tokens() -> None:
    program = (
        "import json, sys, xllamacpp\n"
        "p = xllamacpp.CommonParams(); p.model.path = sys.argv[1]; p.n_ctx = 1024; p.port = 0; p.verbosity = -1\n"
        "pieces = []\n"
        "body = {'messages': [{'role': 'user', 'content': 'What is BYOM?'}], 'stream': True, 'max_tokens': 200}\n"
        "body['stream_options'] = {'include_usage': True}\n"
        "xllamacpp.Server(p).handle_chat_completions(body, lambda piece: pieces.append(piece) and False)\n"
        "print('\\n' + json.dumps(pieces))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(WEIGHTS / "guide.gguf")],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    pieces = json.loads(done.stdout.strip().splitlines()[-1])
    assert len(pieces) > 10
    text = "".join(choice["delta"].get("content") or "" for piece in pieces for choice in piece.get("choices", []))
    assert "bring your own model" in text
    assert any(piece.get("usage", {}).get("completion_tokens", 0) > 10 for piece in pieces)
