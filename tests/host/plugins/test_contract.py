"""Plugin code as models: the tutorial's plugin and others, in this process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from byom.host.plugins.configuration import ConfiguredModel, Preset, configuration
from byom.host.plugins.folder import read
from byom.host.worker.contract import CallError, Context, LoadError, Served
from byom.host.worker.contracts.plugin import load
from byom.testing import Behavior, FakeUpstream, RecordedRequest
from tests.host.plugins import samples
from tests.host.plugins.calling import FOUR, HELLO, METHODS, chat, context, one_model, text_of


@pytest.fixture
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream(Behavior(text="Hi there", prompt_tokens=7, completion_tokens=2)) as server:
        yield server


def for_user(document: dict[str, Any], user: str, secret: Any) -> Context:
    """As the host does it: the caller's own secrets put into a model's configuration."""
    entry = document["models"][0]
    config = {**entry["config"], **{c["param"]: dict(entry["config"][c["param"]]) for c in entry["credentials"]}}
    for credential in entry["credentials"]:
        config[credential["param"]][credential["field"]] = secret
    return context(user, config, document["plugin_config"])


def tutorial(folder: Path, base_url: str) -> tuple[Served, dict[str, Any]]:
    plugin = read(samples.tutorial(folder, base_url))
    document = configuration(
        plugin,
        [ConfiguredModel(name="gpt", values={"model": "gpt-x", "api_key": "OpenAI"})],
        [Preset(name="OpenAI", parameter_set="parameter-custom-llm")],
    )
    return load(str(plugin.folder), document)[0], document


class TestTheTutorialsPlugin:
    def test_its_text_and_its_tokens_come_out_of_the_json_that_it_returns(
        self, tmp_path: Path, upstream: FakeUpstream
    ) -> None:
        served, document = tutorial(tmp_path, upstream.base_url)
        with pytest.warns(DeprecationWarning, match="json"):
            events = chat(served, who=for_user(document, "ann", "sk-ann"))
        assert text_of(events) == "Hi there"
        assert events[-1] == {"finish_reason": "stop", "usage": {"prompt_tokens": 7, "completion_tokens": 2}}
        assert served.description.abilities == ["chat"]
        assert served.description.details["classes"] == {"chat": "MyLLM"}

    def test_the_key_is_the_callers_own(self, tmp_path: Path, upstream: FakeUpstream) -> None:
        served, document = tutorial(tmp_path, upstream.base_url)
        with pytest.warns(DeprecationWarning, match="json"):
            chat(served, who=for_user(document, "ann", "sk-ann"))
        assert upstream.requests[0].header("authorization") == "Bearer sk-ann"
        assert upstream.requests[0].json()["model"] == "gpt-x"

    def test_a_rejected_key_is_said_without_the_key(self, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        def refuse(request: RecordedRequest) -> Behavior:
            return Behavior(status=401, text=f"bad key {request.header('authorization')}")

        with FakeUpstream(refuse) as upstream:
            served, document = tutorial(tmp_path, upstream.base_url)
            with pytest.raises(CallError) as caught:
                chat(served, who=for_user(document, "ann", "sk-ann-very-secret"))
        assert (caught.value.status, caught.value.code) == (403, "credential_rejected")
        assert "MyLLM.process raised AuthenticationError" in caught.value.message
        assert "byom credentials set OpenAI" in caught.value.message
        log = capfd.readouterr().err
        assert "Traceback" in log
        assert "sk-ann-very-secret" not in caught.value.message + log

    @pytest.mark.filterwarnings("ignore::DeprecationWarning")
    def test_two_users_at_once_never_call_with_the_others_key(self, tmp_path: Path, upstream: FakeUpstream) -> None:
        def echo(request: RecordedRequest) -> Behavior:
            return Behavior(text=f"{request.header('authorization')} {request.json()['input']}")

        upstream.set_default(echo)
        served, document = tutorial(tmp_path, upstream.base_url)
        users = {name: for_user(document, name, f"sk-{name}") for name in ("ann", "bob")}

        def call(number: int) -> tuple[str, str]:
            name = ("ann", "bob")[number % 2]
            request = {"messages": [{"role": "user", "content": f"from {name}"}]}
            return name, text_of(chat(served, request, users[name]))

        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(call, range(1000)))
        assert len(answers) == 1000
        assert {answer for _, answer in answers} == {"Bearer sk-ann from ann", "Bearer sk-bob from bob"}
        assert all(answer == f"Bearer sk-{name} from {name}" for name, answer in answers)


class TestAPluginLikeTypesafe:
    @pytest.fixture
    def models(self, tmp_path: Path) -> tuple[dict[str, Served], dict[str, Any]]:
        plugin = read(samples.typesafe(tmp_path))
        document = configuration(
            plugin,
            [
                ConfiguredModel(name="jev", component="jev-chat", values={"connection": "main"}),
                ConfiguredModel(name="jev-reranker", component="jev-reranker", values={"connection": "main"}),
            ],
            [Preset(name="main", parameter_set="service")],
        )
        served = load(str(plugin.folder), document)
        return {one.description.name: one for one in served}, document

    def test_it_answers_with_tokens_and_cost(self, models: tuple[dict[str, Served], dict[str, Any]]) -> None:
        served, document = models
        events = chat(served["jev"], who=context("ann", document["models"][0]["config"], document["plugin_config"]))
        assert text_of(events) == "HELLO"
        assert events[-1]["usage"] == {"prompt_tokens": 3, "completion_tokens": 2, "cost": "0.0025"}

    def test_its_tool_calls_are_openais(self, models: tuple[dict[str, Served], dict[str, Any]]) -> None:
        served, document = models
        request = {**HELLO, "tools": [{"type": "function", "function": {"name": "weather", "parameters": {}}}]}
        events = chat(served["jev"], request, context("ann", document["models"][0]["config"]))
        call = {"index": 0, "id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
        assert events[0] == {"tool_calls": [call]}
        assert events[-1]["finish_reason"] == "tool_calls"

    def test_its_ranking_is_sorted(self, models: tuple[dict[str, Served], dict[str, Any]]) -> None:
        served, document = models
        config = document["models"][1]["config"]
        ranked = served["jev-reranker"].rerank("a", ["b", "a a", "a"], context("ann", config))
        assert ranked == {
            "documents": [{"index": 1, "score": 2.0}, {"index": 2, "score": 1.0}, {"index": 0, "score": 0.0}],
            "usage": {"prompt_tokens": 7, "completion_tokens": 0, "cost": "0.5"},
        }

    def test_its_abilities_come_from_its_bases(self, models: tuple[dict[str, Served], dict[str, Any]]) -> None:
        served, _ = models
        assert {name: one.description.abilities for name, one in served.items()} == {
            "jev": ["chat"],
            "jev-reranker": ["rerank"],
        }


class TestAPluginLikeOllama:
    @pytest.fixture
    def served(self, tmp_path: Path) -> Served:
        folder = samples.ollama(tmp_path)
        config = {"words": ["Hel", "lo"]}
        options = {"models": [{"name": "m", "component": "ollama", "config": config}]}
        return load(str(folder), options)[0]

    def test_one_component_can_chat_and_embed(self, served: Served) -> None:
        assert served.description.abilities == ["chat", "embed"]
        assert served.description.streaming

    def test_it_streams_in_the_pieces_that_it_gives(self, served: Served) -> None:
        events = chat(served)
        assert [event.get("text") for event in events] == ["Hel", "lo", None]
        assert events[-1] == {"finish_reason": "stop", "usage": {"prompt_tokens": 4, "completion_tokens": 2}}

    def test_images_arrive_as_parts(self, served: Served) -> None:
        image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}}
        linked = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
        content = [{"type": "text", "text": "What?"}, image, linked]
        assert text_of(chat(served, {"messages": [{"role": "user", "content": content}]})).startswith(
            "TEXT IMAGE_INLINE IMAGE_URI "
        )

    def test_tool_calls_may_come_as_a_chunk(self, served: Served) -> None:
        events = chat(served, {**HELLO, "tools": [{"type": "function", "function": {"name": "weather"}}]})
        assert [event["tool_calls"][0]["id"] for event in events if "tool_calls" in event] == ["t1"]

    def test_a_model_of_one_text_at_a_time_embeds_several(self, served: Served) -> None:
        assert served.embed(["a", "bbb"], {}, Context()) == {"vectors": [[1.0, 1.0], [3.0, 1.0]], "usage": {}}
        assert served.embed(["a"], {}, Context()) == {"vectors": [[1.0, 1.0]], "usage": {}}

    def test_no_more_calls_at_once_than_it_says(self, tmp_path: Path) -> None:
        code = """
import threading
from dataiku.llm.python import BaseLLM
running, most, lock = [], [], threading.Lock()
both = threading.Barrier(2, timeout=10)
class Narrow(BaseLLM):
    def get_max_parallelism(self):
        return 2
    def process(self, query, settings, trace):
        with lock:
            running.append(1)
            most.append(len(running))
        both.wait()
        with lock:
            running.pop()
        return {"text": str(max(most))}
"""
        served = one_model(tmp_path, code)
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: text_of(chat(served)), range(8)))
        assert set(answers) == {"2"}


EMPTY = {
    "process_stream": "    def process_stream(self, query, settings, trace):\n        pass\n",
    "aprocess_stream": "    async def aprocess_stream(self, query, settings, trace):\n        pass\n",
    "aprocess": "    async def aprocess(self, query, settings, trace):\n        raise NotImplementedError\n",
}


class TestTheMethodThatIsCalled:
    @pytest.mark.parametrize(
        ("names", "expected"),
        [
            (("process",), "process"),
            (("process", "aprocess"), "aprocess"),
            (("process", "aprocess", "process_stream"), "process_stream"),
            (tuple(METHODS), "aprocess_stream"),
        ],
    )
    def test_is_the_first_one_written_of_the_order(self, tmp_path: Path, names: tuple[str, ...], expected: str) -> None:
        served = one_model(tmp_path, FOUR + "".join(METHODS[name] for name in names))
        assert text_of(chat(served)) == expected
        assert served.asynchronous is expected.startswith("a")

    @pytest.mark.parametrize("empty", EMPTY)
    def test_is_another_where_the_first_does_nothing(self, tmp_path: Path, empty: str) -> None:
        served = one_model(tmp_path, FOUR + EMPTY[empty] + METHODS["process"])
        assert text_of(chat(served)) == "process"

    def test_may_be_async_under_the_plain_name(self, tmp_path: Path) -> None:
        code = FOUR + "    async def process(self, query, settings, trace):\n        return {'text': 'async'}\n"
        served = one_model(tmp_path, code)
        assert served.asynchronous
        assert text_of(chat(served)) == "async"

    def test_is_a_problem_where_none_answers(self, tmp_path: Path) -> None:
        served = one_model(tmp_path, FOUR + EMPTY["process_stream"])
        with pytest.raises(CallError, match="none of its methods"):
            chat(served)

    def test_is_a_problem_at_once_where_none_is_written(self, tmp_path: Path) -> None:
        with pytest.raises(LoadError, match="writes none of its methods"):
            one_model(tmp_path, FOUR + "    pass\n")

    def test_that_streams_is_closed_when_the_caller_goes(self, tmp_path: Path) -> None:
        code = FOUR + (
            "    closed = False\n"
            "    def process_stream(self, query, settings, trace):\n"
            "        try:\n"
            "            while True:\n"
            "                yield {'chunk': {'text': 'x'}}\n"
            "        finally:\n"
            "            Some.closed = True\n"
        )
        served = one_model(tmp_path, code)
        events = served.chat(HELLO, Context())
        next(events)  # type: ignore[arg-type]
        events.close()  # type: ignore[union-attr]
        assert served._models["chat"].kind.closed  # type: ignore[attr-defined]


class TestAnException:
    @pytest.mark.parametrize(
        ("fields", "status", "code", "retry_after"),
        [
            ("status_code = 429; headers = {'retry-after': '7'}", 429, "plugin_failed", 7.0),
            ("status_code = 400", 400, "plugin_failed", None),
            ("status_code = 503", 503, "plugin_failed", None),
            ("status_code = 500", 502, "plugin_failed", None),
            ("status_code = 401", 502, "upstream_auth", None),
            ("code = 'x'", 502, "plugin_failed", None),
        ],
    )
    def test_of_a_vendors_sdk_keeps_its_meaning(
        self, tmp_path: Path, fields: str, status: int, code: str, retry_after: float | None
    ) -> None:
        text = f"class Problem(Exception):\n    {fields}\n{FOUR}"
        text += "    def process(self, query, settings, trace):\n        raise Problem('it went wrong')\n"
        with pytest.raises(CallError, match=r"^Some\.process raised Problem: it went wrong$") as caught:
            chat(one_model(tmp_path, text))
        assert (caught.value.status, caught.value.code, caught.value.retry_after) == (status, code, retry_after)

    def test_in_a_stream_comes_after_what_was_given(self, tmp_path: Path) -> None:
        text = FOUR + "    def process_stream(self, query, settings, trace):\n"
        text += "        yield {'chunk': {'text': 'a'}}\n        raise ValueError('b')\n"
        events = one_model(tmp_path, text).chat(HELLO, context())
        assert next(events) == {"text": "a"}  # type: ignore[arg-type]
        with pytest.raises(CallError, match=r"Some\.process_stream raised ValueError: b"):
            next(events)  # type: ignore[arg-type]


class TestInstances:
    CODE = """
import threading
from dataiku.llm.python import BaseLLM
made = []
class Some(BaseLLM):
    def set_config(self, config, plugin_config):
        if config.get("fail"):
            raise KeyError("model")
        made.append(config["key"])
        self.key = config["key"]
        config["key"] = "changed"
    def process(self, query, settings, trace):
        return {"text": self.key}
"""

    def test_one_is_made_for_each_user_and_goes_when_the_configuration_changes(self, tmp_path: Path) -> None:
        served = one_model(tmp_path, self.CODE)
        calls = [("ann", "a"), ("ann", "a"), ("bob", "a"), ("ann", "b"), ("ann", "a")]
        assert [text_of(chat(served, who=context(user, {"key": key}))) for user, key in calls] == list("aaaba")
        assert len(served._models["chat"].instances) == 2  # type: ignore[attr-defined]

    def test_one_is_made_once_by_calls_at_the_same_time(self, tmp_path: Path) -> None:
        served = one_model(tmp_path, self.CODE)
        together = threading.Barrier(8, timeout=10)

        def call(_: int) -> str:
            together.wait()
            return text_of(chat(served, who=context("ann", {"key": "k"})))

        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(call, range(8))) == {"k"}
        assert len(served._models["chat"].instances) == 1  # type: ignore[attr-defined]

    def test_one_is_enough_for_all_users_where_the_class_says_so(self, tmp_path: Path) -> None:
        code = self.CODE.replace("class Some(BaseLLM):\n", "class Some(BaseLLM):\n    share_between_users = True\n")
        served = one_model(tmp_path, code, config={"key": "k"})
        served.warm_up()
        assert [text_of(chat(served, who=context(user))) for user in ("ann", "bob")] == ["k", "k"]
        assert len(served._models["chat"].instances) == 1  # type: ignore[attr-defined]

    def test_one_is_not_enough_where_users_bring_credentials(self, tmp_path: Path) -> None:
        code = self.CODE.replace("class Some(BaseLLM):\n", "class Some(BaseLLM):\n    share_between_users = True\n")
        served = one_model(tmp_path, code, credentials=[{"param": "key", "preset": "p", "field": ""}])
        served.warm_up()
        assert [text_of(chat(served, who=context(user, {"key": "k"}))) for user in ("ann", "bob")] == ["k", "k"]
        assert len(served._models["chat"].instances) == 2  # type: ignore[attr-defined]

    def test_the_oldest_goes_when_there_are_too_many(self, tmp_path: Path) -> None:
        folder = samples.write(
            tmp_path,
            {"plugin.json": {"id": "x"}, "python-llms/c/llm.json": {}, "python-llms/c/llm.py": self.CODE},
        )
        served = load(str(folder), {"models": [{"name": "m", "component": "c"}], "instances": 2})[0]
        for user in ("a", "b", "c", "a"):
            assert text_of(chat(served, who=context(user, {"key": user}))) == user
        assert len(served._models["chat"].instances) == 2  # type: ignore[attr-defined]

    def test_a_set_config_that_raises_is_told_and_tried_again(
        self, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        served = one_model(tmp_path, self.CODE)
        with pytest.raises(CallError, match=r"Some\.set_config raised KeyError: 'model'"):
            chat(served, who=context("ann", {"fail": True}))
        assert "Traceback" in capfd.readouterr().err
        assert text_of(chat(served, who=context("ann", {"key": "k"}))) == "k"


@pytest.mark.parametrize(
    "method",
    [
        "    def process(self, query, settings, trace):\n        return {ANSWER}\n",
        "    async def aprocess(self, query, settings, trace):\n        return {ANSWER}\n",
    ],
)
def test_as_many_answers_come_as_were_asked_for(tmp_path: Path, method: str) -> None:
    answer = "'text': 'x', 'promptTokens': 2, 'completionTokens': 3, 'estimatedCost': 0.1"
    events = chat(one_model(tmp_path, FOUR + method.replace("ANSWER", answer)), HELLO | {"n": 3})
    assert [event["index"] for event in events if event.get("text")] == [0, 1, 2]
    assert [event["index"] for event in events if event.get("finish_reason")] == [0, 1, 2]
    assert [event["usage"] for event in events if "usage" in event] == [
        {"prompt_tokens": 6, "completion_tokens": 9, "cost": "0.3"}
    ]
