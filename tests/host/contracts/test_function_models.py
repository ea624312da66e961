"""Function models, driven directly: every shape of function, synchronous and asynchronous."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from byom.host.worker.contract import CallError, Context, LoadError
from byom.host.worker.contracts import choose
from byom.testing import Behavior, FakeUpstream, ScriptedToolCall
from tests.host.contracts.calls import embed, events, text, usage
from tests.host.contracts.conftest import Load, Write

HEAD = "from byom.llm import Model, EmbedModel\nimport asyncio\ndef setup(key): return key\n"

SAYS_HELLO = {
    "a plain function": "def f(prompt): return 'hello'",
    "a plain function with tokens": "def f(prompt): return 'hello', (3, 2)",
    "an asynchronous one": "import asyncio\n"
    "async def f(prompt):\n    await asyncio.sleep(0)\n    return 'hello', [3, 2]",
    "one asynchronous in name": "async def f(prompt): return 'hello', (3, 2)",
    "a generator": "def f(prompt):\n    yield 'hel'\n    yield 'lo'\n    yield (3, 2)",
    "an asynchronous generator": "async def f(prompt):\n    yield 'hel'\n    yield 'lo'\n    yield (3, 2)",
    "one with the model": "def f(model, prompt): return 'hello', (3, 2)",
    "one with messages": "def f(messages): return messages[0]['content'].lower(), (3, 2)",
    "one with the model and messages": "def f(model, messages): return messages[0]['content'].lower(), (3, 2)",
    "one with the request": "def f(request): return request['messages'][0]['content'].lower(), (3, 2)",
    "a pair": "def setup(key): return None\ndef call(model, prompt): return 'hello', (3, 2)\nf = (setup, call)",
    "an object that is called": "class F:\n    def __call__(self, prompt): return 'hello', (3, 2)\nf = F()",
    "a partial": "from functools import partial\ndef g(word, prompt): return word, (3, 2)\nf = partial(g, 'hello')",
    "one with defaults": "def f(prompt, temperature=0.5): return 'hello', (3, 2)",
    "a model object": HEAD + "def call(model, prompt): return 'hello', (3, 2)\nf = Model('', setup, call)",
    "an asynchronous model object": HEAD
    + "async def call(model, prompt):\n    await asyncio.sleep(0)\n    return 'hello', [3, 2]\n"
    + "f = Model('f', setup, call)",
    "one by LLooM's own class": """
class Model:
    def __init__(self, name, setup_fn, fn, api_key=None, rate_limit=None, **args):
        self.name, self.setup_fn, self.fn, self.rate_limit, self.args = name, setup_fn, fn, rate_limit, args
        self.client = setup_fn(api_key)
async def call(model, prompt): return 'hello', (3, 2)
f = Model('f', lambda key: None, call, cost=[1e-6, 2e-6], context_window=9)
""",
}


@pytest.mark.parametrize("code", SAYS_HELLO.values(), ids=SAYS_HELLO)
def test_every_shape_of_function_answers(load: Load, code: str) -> None:
    path_code = code
    served = load(path_code, "f")[0]
    assert served.description.name == "f"
    assert served.description.abilities == ["chat"]
    assert text(served, "HELLO") == "hello"
    last = events(served, "HELLO")[-1]
    assert last["finish_reason"] == "stop"
    if "with tokens" in code or "(3, 2)" in code or "[3, 2]" in code:
        assert last["usage"] == {"prompt_tokens": 3, "completion_tokens": 2}
    else:
        assert "usage" not in last


def test_what_waits_runs_on_an_event_loop_and_everything_else_in_threads(load: Load) -> None:
    kinds = {name: load(code, "f")[0].asynchronous for name, code in SAYS_HELLO.items() if not _forget()}
    assert {name for name, asynchronous in kinds.items() if asynchronous} == {
        "an asynchronous one",
        "an asynchronous generator",
        "an asynchronous model object",
    }


def _forget() -> None:
    sys.modules.pop("mymodel", None)


def test_the_description_has_what_the_model_declares(load: Load) -> None:
    code = """
        from byom.llm import Model
        async def call(model, prompt): return prompt, (0, 0)
        m = Model(
            name="gemini-1.5-flash", setup_fn=lambda key: None, fn=call, api_key="k",
            cost=(0.15 / 1_000_000, 0.6 / 1_000_000), rate_limit=(300, 10), context_window=16385,
        )
    """
    told = load(code, "m")[0].description
    assert told.cost == {"input": "0.000000150000", "output": "0.000000600000"}
    assert (told.rate_limit, told.context_window, told.kind) == ([300, 10.0], 16385, "function")
    assert not told.streaming


def test_what_llooms_own_class_keeps_in_args_is_honoured(load: Load) -> None:
    told = load(SAYS_HELLO["one by LLooM's own class"], "f")[0].description
    assert told.cost == {"input": "0.000001000000", "output": "0.000002000000"}
    assert told.context_window == 9


def test_a_cost_that_is_not_given_is_not_known(load: Load) -> None:
    assert load("def f(prompt): return 'x'")[0].description.cost is None


def test_plain_functions_are_described_by_options(write: Write) -> None:
    options = {"name": "f2", "cost": 1e-6, "context_window": 4096, "rate_limit": [5, 1], "args": {"temperature": 0}}
    served = choose.load(str(write("def f(model, prompt): return str(model.args)")), options)[0]
    told = served.description
    assert (told.name, told.context_window, told.rate_limit) == ("f2", 4096, [5, 1.0])
    assert told.cost == {"input": "0.000001000000", "output": "0.000001000000"}
    assert text(served, "?") == "{'temperature': 0}"


@pytest.mark.parametrize("options", [{"cost": "much"}, {"rate_limit": [0, 1]}, {"ability": "sing"}])
def test_options_that_mean_nothing_are_refused(load: Load, options: dict[str, Any]) -> None:
    with pytest.raises(LoadError):
        load("def f(prompt): return 'x'", **options)


def test_a_function_of_the_wrong_shape_is_refused_at_once(load: Load) -> None:
    with pytest.raises(LoadError, match="f takes 3 arguments; a model's function takes"):
        load("def f(a, b, c): return 'x'")


def test_several_messages_become_one_prompt_with_roles(load: Load) -> None:
    served = load("def f(prompt): return prompt")[0]
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Hello "}, {"type": "text", "text": "there"}]},
    ]
    assert text(served, {"messages": messages}) == "system: Be brief.\n\nuser: Hello there"
    assert text(served, {"messages": messages[1:]}) == "Hello there"


def test_a_part_that_is_no_text_is_refused_by_its_place(load: Load) -> None:
    served = load("def f(prompt): return prompt")[0]
    parts = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": "data:x"}}]
    with pytest.raises(CallError, match=r"messages\[0\]\.content\[1\] is of type 'image_url'") as caught:
        text(served, {"messages": [{"role": "user", "content": parts}]})
    assert (caught.value.status, caught.value.code) == (400, "unsupported_content")


ARGS = """
    from byom.llm import Model
    def call(model, prompt):
        model.args.setdefault("system_prompt", "default")
        model.args["mine"] = prompt
        return repr(sorted(model.args.items())), None
    m = Model("m", lambda key: None, call, temperature=0)
"""


def test_what_the_caller_sends_is_in_the_args_of_that_call_alone(load: Load) -> None:
    served = load(ARGS, "m", args={"top_k": 3})[0]
    user = [{"role": "user", "content": "U"}]
    sent = text(served, {"messages": user, "temperature": 0.9, "max_tokens": 5, "tools": [], "stream": True})
    assert (
        sent == "[('max_tokens', 5), ('mine', 'U'), ('system_prompt', 'default'), ('temperature', 0.9), ('top_k', 3)]"
    )
    assert text(served, "V") == "[('mine', 'V'), ('system_prompt', 'default'), ('temperature', 0), ('top_k', 3)]"
    assert sys.modules["mymodel"].m.args == {"temperature": 0, "top_k": 3}


def test_calls_at_the_same_time_do_not_see_each_others_args(load: Load) -> None:
    code = """
        from byom.llm import Model
        import threading
        together = threading.Barrier(8)
        def call(model, prompt):
            model.args["mine"] = prompt
            together.wait(10)
            return model.args["mine"], None
        m = Model("m", lambda key: object(), call)
    """
    served = load(code, "m")[0]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda number: text(served, str(number)), range(8))) == [str(one) for one in range(8)]


def test_the_client_is_made_once_however_many_call(load: Load) -> None:
    code = """
        from byom.llm import Model
        made = []
        def setup(key):
            made.append(key)
            return object()
        m = Model("m", setup, lambda model, prompt: str(id(model.client)), api_key="k")
    """
    served = load(code, "m")[0]
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(lambda _: text(served, "?"), range(16)))) == 1
    assert sys.modules["mymodel"].made == ["k"]


def test_a_setup_that_fails_is_told_and_tried_again(load: Load) -> None:
    code = """
        from byom.llm import Model
        tries = []
        def setup(key):
            tries.append(key)
            if len(tries) == 1: raise OSError("no route to host")
        m = Model("m", setup, lambda model, prompt: "ok")
    """
    served = load(code, "m")[0]
    with pytest.raises(CallError, match="'setup' of model 'm' raised OSError: no route to host"):
        served.warm_up()
    assert text(served, "?") == "ok"


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_what_the_function_raises_is_told_with_its_name_and_kept_for_the_log(load: Load, kind: str) -> None:
    wait = "    await asyncio.sleep(0)\n" if kind == "async def" else ""
    served = load(f"import asyncio\n{kind} answers(prompt):\n{wait}    return genai.x\n")[0]
    with pytest.raises(CallError, match="'answers' of model 'answers' raised NameError: name 'genai'") as caught:
        text(served, "?")
    assert (caught.value.status, caught.value.code) == (502, "code_error")
    assert isinstance(caught.value.__cause__, NameError)


@pytest.mark.parametrize(
    ("raised", "status", "after"),
    [
        ("E(429, {'retry-after': '7'})", 429, 7.0),
        ("E(503, {})", 503, None),
        ("E(401, {})", 502, None),
        ("TimeoutError('slow')", 504, None),
        ("ValueError('x')", 502, None),
    ],
)
def test_the_status_of_an_sdks_error_is_kept(load: Load, raised: str, status: int, after: float | None) -> None:
    code = (
        "class E(Exception):\n    def __init__(self, status, headers):\n        self.status_code = status\n"
        "        self.response = type('R', (), {'headers': headers})()\n"
        f"def f(prompt):\n    raise {raised}\n"
    )
    with pytest.raises(CallError) as caught:
        text(load(code, "f")[0], "?")
    assert (caught.value.status, caught.value.retry_after) == (status, after)


@pytest.mark.parametrize("result", ["3", "('a', 1, 2)", "('a', 'many')", "object()"])
def test_an_answer_that_nobody_can_read_is_an_error(load: Load, result: str) -> None:
    with pytest.raises(CallError, match="'f' of model 'f'"):
        text(load(f"def f(prompt): return {result}")[0], "?")


@pytest.mark.parametrize("result", ["None", "(None, [0, 0])", "''", "('', None)"])
def test_an_empty_answer_is_empty_text(load: Load, result: str) -> None:
    served = load(f"def f(prompt): return {result}")[0]
    assert events(served, "?") == [{"index": 0, "finish_reason": "stop"}]


def test_n_answers_are_n_calls_and_their_tokens_are_added_up(load: Load) -> None:
    code = "calls = []\ndef f(prompt):\n    calls.append(prompt)\n    return str(len(calls)), (3, 2)\n"
    made = events(load(code)[0], {"messages": [{"role": "user", "content": "?"}], "n": 3})
    assert [(event["index"], event.get("text")) for event in made if "text" in event] == [(0, "1"), (1, "2"), (2, "3")]
    assert made[-1]["usage"] == {"prompt_tokens": 9, "completion_tokens": 6}


def test_a_generator_that_nobody_reads_any_more_is_closed(load: Load) -> None:
    code = """
        closed = []
        def f(prompt):
            try:
                while True: yield "x"
            finally:
                closed.append(True)
    """
    served: Any = load(code, "f")[0]
    assert served.description.streaming
    context = Context(cancelled=threading.Event())
    stream = served.chat({"messages": [{"role": "user", "content": "?"}]}, context)
    assert next(stream)["text"] == "x"
    context.cancelled.set()
    assert list(stream) == []
    assert sys.modules["mymodel"].closed == [True]


# --- embeddings

EMBEDS = {
    "lists": "def embed(texts): return [[float(len(text)), 1.0] for text in texts]",
    "lists with tokens": "def embed(texts): return [[float(len(text)), 1.0] for text in texts], [6, 0]",
    "an array": "import numpy as np\ndef embed(texts): return np.array([[len(text), 1.0] for text in texts]), 6",
    "arrays in a list": "import numpy as np\ndef embed(texts): return [np.array([len(t), 1.0]) for t in texts], (6, 0)",
    "asynchronous": "import asyncio\nasync def embed(texts):\n"
    "    await asyncio.sleep(0)\n    return [[float(len(t)), 1.0] for t in texts]",
    "asynchronous in name": "async def embed(texts): return [[float(len(text)), 1.0] for text in texts]",
    "a model object": "from byom.llm import EmbedModel\n"
    "def call(model, text_arr): return [[float(len(t)), 1.0] for t in text_arr.tolist()], [0, 0]\n"
    "embed = EmbedModel(name='', setup_fn=lambda key: None, fn=call, cost=(0), batch_size=2)",
    "one text at a time": "from byom.llm import EmbedModel\n"
    "def call(model, text): return [float(len(text)), 1.0], [2, 0]\n"
    "embed = EmbedModel('', lambda key: None, call)",
    "one text at a time, unsaid": "def embed(text):\n"
    "    text = text if isinstance(text, str) else text[0]\n    return [float(len(text)), 1.0]",
}


@pytest.mark.parametrize("code", EMBEDS.values(), ids=EMBEDS)
def test_every_shape_of_embedding_function_gives_vectors(load: Load, code: str) -> None:
    served = load(code, "embed")[0]
    assert served.description.abilities == ["embed"]
    assert embed(served, ["a", "bb", "ccc"])["vectors"] == [[1.0, 1.0], [2.0, 1.0], [3.0, 1.0]]
    assert embed(served, ["dddd"])["vectors"] == [[4.0, 1.0]]


def test_tokens_of_vectors_are_told_where_the_function_tells_them(load: Load) -> None:
    assert embed(load(EMBEDS["lists with tokens"], "embed")[0], ["a"])["usage"]["prompt_tokens"] == 6
    sys.modules.pop("mymodel")
    assert "usage" not in embed(load(EMBEDS["lists"], "embed")[0], ["a"])


def test_vectors_that_do_not_fit_are_an_error_that_names_the_function(load: Load) -> None:
    served = load("def embed(texts): return [[1.0]]")[0]
    with pytest.raises(CallError, match="'embed' of model 'embed' returned 1 vectors for 2 texts"):
        embed(served, ["a", "b"])


def test_an_embedding_function_of_another_name_is_said_by_an_option(load: Load) -> None:
    served = load("def f(x): return [[1.0] for _ in x]", ability="embed")[0]
    assert embed(served, ["a", "b"])["vectors"] == [[1.0], [1.0]]


# --- OpenAI's models


@pytest.fixture
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream(Behavior(text="An answer.", prompt_tokens=10, completion_tokens=4)) as server:
        yield server


IMPORTS = {
    "with byom": "from byom.llm import OpenAIModel, OpenAIEmbedModel",
    "without": "from text_lloom.llm import OpenAIModel, OpenAIEmbedModel",
}


@pytest.mark.parametrize("imports", IMPORTS.values(), ids=IMPORTS)
def test_an_openai_model_gets_the_whole_request(load: Load, imports: str, upstream: FakeUpstream) -> None:
    upstream.set_default(Behavior(tool_calls=(ScriptedToolCall("weather", {"city": "Oslo"}),), prompt_tokens=10))
    code = f"{imports}\nm = OpenAIModel('gpt-x', base_url={upstream.base_url!r}, system_prompt='Be brief.', top_k=2)\n"
    served = load(code, "m", api_key="sk-1")[0]
    assert served.description.streaming
    tools = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
    request = {"model": "mine", "messages": [{"role": "user", "content": "?"}], "tools": tools, "temperature": 0.5}
    made = events(served, request)
    calls = [call for event in made for call in event.get("tool_calls", ())]
    assert "".join(call["function"].get("arguments", "") for call in calls) == '{"city": "Oslo"}'
    assert [event["usage"]["prompt_tokens"] for event in made if "usage" in event] == [10]
    sent = upstream.requests[-1].fields()
    assert (sent["model"], sent["tools"], sent["temperature"], sent["top_k"]) == ("gpt-x", tools, 0.5, 2)
    assert sent["messages"][0] == {"role": "system", "content": "Be brief."}
    assert upstream.requests[-1].header("authorization") == "Bearer sk-1"


@pytest.mark.parametrize("imports", IMPORTS.values(), ids=IMPORTS)
def test_an_openai_embedding_model_embeds(load: Load, imports: str, upstream: FakeUpstream) -> None:
    code = f"{imports}\nm = OpenAIEmbedModel('e', base_url={upstream.base_url!r})\n"
    assert len(embed(load(code, "m")[0], ["a", "b"])["vectors"]) == 2


def test_errors_of_openais_api_keep_their_status_and_hide_the_key(load: Load, upstream: FakeUpstream) -> None:
    upstream.set_default(Behavior(status=429, error={"message": "key sk-very-secret is slow"}, retry_after=3))
    code = f"{IMPORTS['without']}\nm = OpenAIModel('m', 'sk-very-secret', base_url={upstream.base_url!r})\n"
    with pytest.raises(CallError) as caught:
        text(load(code, "m")[0], "?")
    assert (caught.value.status, caught.value.retry_after) == (429, 3.0)
    assert "very-secret" not in caught.value.message


def test_a_stream_that_breaks_off_is_an_error(load: Load, upstream: FakeUpstream) -> None:
    upstream.set_default(Behavior(chunks=4, cut_after_chunks=2, cut="end"))
    code = f"{IMPORTS['without']}\nm = OpenAIModel('m', base_url={upstream.base_url!r})\n"
    with pytest.raises(CallError, match="broke off"):
        text(load(code, "m")[0], "?")


def test_usage_is_told_at_the_end(load: Load) -> None:
    assert usage(load("def f(prompt): return 'x', (0, 0)")[0], "?") is None
