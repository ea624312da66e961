"""Which object a target names, and what is said when it cannot be loaded."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from byom.host.worker.contract import LoadError
from byom.host.worker.contracts import choose
from byom.host.worker.contracts.declared import DEFER_SETUP
from byom.host.worker.contracts.python_object import find, split
from tests.host.contracts.calls import text
from tests.host.contracts.conftest import Load, Write


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("a.b:c", ("a.b", "c")),
        ("a.b:c.d", ("a.b", "c.d")),
        ("/x/y.py:c", ("/x/y.py", "c")),
        ("/x/y.py", ("/x/y.py", "")),
        ("C:\\x\\y.py", ("C:\\x\\y.py", "")),
        ("C:\\x\\y.py:c", ("C:\\x\\y.py", "c")),
    ],
)
def test_a_target_is_a_place_and_a_name(target: str, expected: tuple[str, str]) -> None:
    assert split(target) == expected


def test_an_object_of_a_module_is_found(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write("class Inner:\n    value = 7\n")
    monkeypatch.chdir(path.parent)
    assert find("mymodel:Inner.value") == 7


def test_a_file_finds_its_neighbours(write: Write) -> None:
    write("WORD = 'neighbour'\n", "besides.py")
    path = write("from besides import WORD\n")
    assert find(f"{path}:WORD") == "neighbour"


def test_a_file_named_like_a_module_in_use_hides_nothing(write: Write) -> None:
    import json

    path = write("def f(prompt):\n    return 'mine'\n", "json.py")
    assert text(choose.load(str(path), {})[0], "?") == "mine"
    assert sys.modules["json"] is json


def test_a_file_that_was_edited_within_the_second_is_read_again(write: Write) -> None:
    path = write("VALUE = 1\n")
    stamp = path.stat()
    assert find(f"{path}:VALUE") == 1
    del sys.modules["mymodel"]
    write("VALUE = 2\n")
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert find(f"{path}:VALUE") == 2


def test_a_file_with_one_model_needs_no_name(load: Load) -> None:
    code = """
        from byom.llm import BaseModel, Model
        def helper(x): return x
        class Mine(BaseModel):
            def generate_response(self, messages, **kwargs): return "mine", {}
    """
    assert load(code)[0].description.name == "Mine"


def test_a_file_with_several_names_them(load: Load) -> None:
    code = """
        from byom.llm import Model
        def setup(key): return None
        def call(model, prompt): return prompt, None
        distill = Model("a", setup, call)
        score = Model("b", setup, call)
    """
    with pytest.raises(LoadError, match=r"Name one of: .*mymodel\.py:distill, .*mymodel\.py:score$"):
        load(code)
    assert load(code, "score")[0].description.name == "b"


def test_a_name_that_is_not_there_is_answered_with_those_that_are(load: Load) -> None:
    with pytest.raises(LoadError, match=r"has no 'anwser'\. Name one of: .*mymodel\.py:answer"):
        load("def answer(prompt): return 'x'", "anwser")


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("x = 1\ndef f(:\n    pass\n", r"mymodel\.py:2: invalid syntax: def f\(:"),
        (
            "\nimport not_a_package_at_all\n",
            r"mymodel\.py:2 imports 'not_a_package_at_all', .* uv pip install --python",
        ),
        ("import sklearn_nowhere.linear\n", r"install --python .* sklearn-nowhere$"),
        ("x = 1\n\nraise RuntimeError('no GPU')\n", r"mymodel\.py:3 raised RuntimeError: no GPU"),
        ("import sys\nsys.exit(3)\n", r"mymodel\.py:2 ended the program \(exit code 3\)"),
        ("def g():\n    return {}['k']\ng()\n", r"mymodel\.py:2 raised KeyError: 'k'"),
        ("from json import nothing_like_it\n", r"mymodel\.py:1 raised ImportError"),
        ("x = 3\n", r"It has no model, no class with generate_response and no function"),
    ],
)
def test_code_that_cannot_be_loaded_says_where_and_what_to_do(load: Load, code: str, message: str) -> None:
    with pytest.raises(LoadError, match=message):
        load(code)
    assert DEFER_SETUP not in os.environ


def test_a_package_of_another_name_is_named(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(LoadError, match=r"opencv-python$"):
        load("import cv2\n")


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("/nowhere/at/all.py:x", "does not exist"),
        ("{folder}", "is a folder without plugin.json"),
        ("no_such_module_here:x", "imports 'no_such_module_here'"),
        ("", "names no code"),
    ],
)
def test_a_place_that_is_not_there_is_told(tmp_path: Path, target: str, message: str) -> None:
    with pytest.raises(LoadError, match=message):
        choose.load(target.format(folder=tmp_path), {})


@pytest.mark.parametrize(
    ("code", "described"),
    [
        ("class Thing:\n    pass\n", "a class without generate_response"),
        ("thing = 3\n", "of type int"),
        ("import json as thing\n", "a module"),
    ],
)
def test_what_is_no_model_is_described(load: Load, code: str, described: str) -> None:
    with pytest.raises(LoadError, match=f"{described}. A model is a function"):
        load(code, "thing" if "Thing" not in code else "Thing")


def test_clients_are_made_at_the_first_call_and_not_while_loading(load: Load) -> None:
    code = """
        from byom.llm import Model
        made = []
        def setup(key):
            made.append(key)
            return "client of " + key
        def call(model, prompt): return model.client, None
        m = Model("m", setup, call, api_key="in-file")
    """
    served = load(code, "m", api_key="from-options")[0]
    made = sys.modules["mymodel"].made
    assert made == []
    assert text(served, "?") == text(served, "?") == "client of from-options"
    assert made == ["from-options"]
