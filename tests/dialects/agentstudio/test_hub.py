"""AgentStudio's client against a running hub."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import pathlib
import pickle
import socket
import threading
import time
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from PIL import Image

from byom.client import Client
from tests.dialects.agentstudio.conftest import ANSWER, HubBefore
from tests.dialects.agentstudio.remote_client import Refused, RemoteClient
from tests.dialects.agentstudio.stand_ins import ERAS, NUMPYS, PROTOCOLS, Array, message, pickled


def with_basic(hub: HubBefore, user: str, password: str) -> str:
    return hub.url.replace("http://", f"http://{user}:{password}@")


def in_path(hub: HubBefore) -> str:
    return f"{hub.url}/agentstudio/{hub.key}"


HELLO = [{"role": "user", "content": "Hello"}]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("maker", NUMPYS)
@pytest.mark.parametrize("era", ERAS)
def test_a_step_of_an_agent_of_each_era(hub: HubBefore, era: str, maker: str, protocol: int) -> None:
    hub.forget()
    pixels = bytes(n * 7 % 256 for n in range(30 * 40 * 3))
    steps = [
        message(era, "system", "You are an agent."),
        message(era, "user", "The task instruction: close the window"),
        message(era, "user", "[Observation]: \n"),
        message(era, "user", Array((30, 40, 3), pixels)),
        message(era, "assistant", "[Action]: ..."),
        message(era, "user", "[Result]: \n..."),
    ]
    client = RemoteClient(in_path(hub), protocol, maker)
    text, info = client.generate_response(steps, model="agent")
    assert text == ANSWER
    assert info == {"prompt_tokens": 11, "completion_tokens": 4, "total_tokens": 15}
    (request,) = hub.upstream.wait_for_requests_sync()
    system, user, assistant, last = request.fields()["messages"]
    assert system == {"role": "system", "content": "You are an agent."}
    assert [part["type"] for part in user["content"]] == ["text", "text", "image_url"]
    assert [part["text"] for part in user["content"][:2]] == [steps_text(steps[1]), "[Observation]: \n"]
    assert (assistant["content"], last["content"]) == ("[Action]: ...", "[Result]: \n...")
    with Image.open(io.BytesIO(of_uri(user["content"][2]["image_url"]["url"]))) as image:
        assert (image.format, image.mode, image.size) == ("PNG", "RGB", (40, 30))
        assert image.tobytes() == pixels


def steps_text(step: Any) -> str:
    content: str = step["content"] if isinstance(step, dict) else step.content
    return content


def of_uri(uri: str) -> bytes:
    head, _, data = uri.partition(",")
    assert head == "data:image/png;base64"
    return base64.b64decode(data)


def test_the_client_says_who_it_is_in_its_address(hub: HubBefore) -> None:
    addresses = [
        with_basic(hub, hub.key, ""),
        with_basic(hub, hub.key, "x"),
        with_basic(hub, "anything", hub.key),
        in_path(hub),
        in_path(hub) + "/",
        with_basic(hub, hub.key, "") + "/",
        with_basic(hub, hub.key, "") + "/agentstudio",
    ]
    for address in addresses:
        assert RemoteClient(address).generate_response(HELLO, model="agent")[0] == ANSWER, address


def test_calls_are_in_the_ledger_of_their_user(hub: HubBefore) -> None:
    RemoteClient(in_path(hub)).generate_response(HELLO, model="agent")
    with Client(hub.url, (hub.home / "admin.key").read_text().strip()) as client:
        row = client.calls()["data"][0]
    assert (row["model"], row["user"], row["prompt_tokens"]) == ("agent", "agent", 11)


@pytest.mark.parametrize(
    "address", ["plain", "wrong key", "wrong key in the path", "no ascii in the path", "no such user"]
)
def test_without_a_valid_key_nothing_is_read(hub: HubBefore, address: str) -> None:
    addresses = {
        "plain": hub.url,
        "wrong key": with_basic(hub, "sk-byom-aaaaaaaaaaaa-" + "b" * 33, ""),
        "wrong key in the path": f"{hub.url}/agentstudio/nonsense",
        "no ascii in the path": f"{hub.url}/agentstudio/☃",
        "no such user": with_basic(hub, "agent", "nonsense"),
    }
    with pytest.raises(Refused) as refused:
        RemoteClient(addresses[address]).send("not even a request")
    assert refused.value.response.status_code == 401
    assert refused.value.response.headers["www-authenticate"].startswith("Basic")


def test_a_key_beside_a_large_body_is_checked_before_the_body_comes(hub: HubBefore) -> None:
    place = urlsplit(hub.url)
    with socket.create_connection((place.hostname, place.port), 5) as connection:
        connection.sendall(b"POST /generate HTTP/1.1\r\nhost: hub\r\ncontent-length: 50000000\r\n\r\n{")
        assert connection.recv(4096).startswith(b"HTTP/1.1 401 ")


def test_an_unknown_model_is_named_beside_those_that_there_are(hub: HubBefore) -> None:
    for name in ("gpt-4o", "secret", "Agent", ""):
        with pytest.raises(Refused) as refused:
            RemoteClient(in_path(hub)).generate_response(HELLO, model=name)
        response = refused.value.response
        assert response.status_code == 404
        said = response.json()["error"]["message"]
        assert "There are: agent, broken, calls-tools" in said
        assert "secret" not in said.partition("There are")[2]
        assert len(response.content) < 1000


def test_an_unknown_model_is_said_before_the_messages_are_read(hub: HubBefore) -> None:
    with pytest.raises(Refused, match="There is no model 'none'"):
        RemoteClient(in_path(hub)).send({"model": "none", "messages": "nonsense"})


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"model": "agent"}, "messages"),
        ({"messages": ""}, "model"),
        ({"model": 3, "messages": ""}, "str"),
        ({"model": "agent", "messages": [1]}, "str"),
        ([], "object"),
        ({"model": "agent", "messages": "x"}, "base64"),
        ({"model": "agent", "messages": "AAAA"}, "pickle"),
    ],
)
def test_a_wrong_body_is_refused_in_one_sentence(hub: HubBefore, body: Any, said: str) -> None:
    with pytest.raises(Refused) as refused:
        RemoteClient(in_path(hub)).send(body)
    assert refused.value.response.status_code == 400
    assert said in refused.value.response.json()["error"]["message"]


def test_a_body_that_nests_deeply_is_refused(hub: HubBefore) -> None:
    body = b'{"x": ' + b"[" * 200_000 + b"]" * 200_000 + b', "model": "agent", "messages": ""}'
    answer = requests.post(f"{in_path(hub)}/generate", data=body, timeout=5)
    assert answer.status_code == 400


def test_a_request_id_of_the_caller_is_kept(hub: HubBefore) -> None:
    body = {"model": "agent", "messages": base64.b64encode(pickle.dumps(HELLO)).decode()}
    for sent, kept in (("mine-1", True), ("\xe9", False)):
        headers = {"x-request-id": sent.encode("latin-1")}
        answer = requests.post(f"{in_path(hub)}/generate", json=body, headers=headers, timeout=5)
        assert answer.status_code == 200
        assert (answer.headers["x-request-id"] == sent) is kept


def test_a_body_with_an_encoding_is_refused(hub: HubBefore) -> None:
    answer = requests.post(
        f"{in_path(hub)}/generate", data=gzip.compress(b"{}"), headers={"content-encoding": "gzip"}, timeout=5
    )
    assert answer.status_code == 400


@pytest.mark.parametrize("content", [pathlib.PurePosixPath("/etc/passwd"), b"bytes", None, 3, ["text"]])
def test_other_contents_are_refused_with_a_clear_message(hub: HubBefore, content: Any) -> None:
    hub.forget()
    with pytest.raises(Refused, match=r"path|content") as refused:
        RemoteClient(in_path(hub)).generate_response([message("current", "user", content)], model="agent")
    assert refused.value.response.status_code == 400
    assert hub.upstream.requests == []


def test_a_hostile_pickle_makes_no_file(hub: HubBefore, tmp_path: pathlib.Path) -> None:
    class Touch:
        def __reduce__(self) -> Any:
            return pathlib.Path.touch, (tmp_path / "made",)

    for content in (Touch(), [Touch()], [message("current", "user", Touch())]):
        with pytest.raises(Refused, match="not imported"):
            RemoteClient(in_path(hub)).generate_response(content, model="agent")
    assert not list(tmp_path.iterdir())


def test_counts_that_nobody_knows_are_left_out(hub: HubBefore) -> None:
    text, info = RemoteClient(in_path(hub)).generate_response(HELLO, model="uncounted")
    assert text == ANSWER
    assert None not in info.values()
    assert info.get("total_tokens", 0) >= 0


def test_an_answer_without_text_is_an_empty_text(hub: HubBefore) -> None:
    assert RemoteClient(in_path(hub)).generate_response(HELLO, model="calls-tools")[0] == ""


def test_what_goes_wrong_behind_the_hub_is_said(hub: HubBefore) -> None:
    with pytest.raises(Refused, match="The engine is on fire") as refused:
        RemoteClient(in_path(hub)).generate_response(HELLO, model="broken")
    assert refused.value.response.status_code >= 500
    assert len(refused.value.response.content) < 1000


def test_limits_hold_and_say_when_to_come_back(hub: HubBefore) -> None:
    client = RemoteClient(in_path(hub))
    assert client.generate_response(HELLO, model="limited")[0] == "once"
    with pytest.raises(Refused) as refused:
        client.generate_response(HELLO, model="limited")
    assert refused.value.response.status_code == 429
    assert int(refused.value.response.headers["retry-after"]) >= 1


def test_health_answers_at_once_while_large_requests_are_worked_on(hub: HubBefore) -> None:
    screens = [message("current", "user", Array((1080, 1920, 3), hashed(n))) for n in range(2)]
    body = {"model": "agent", "messages": base64.b64encode(pickled(screens, 4)).decode()}
    work = [threading.Thread(target=RemoteClient(in_path(hub)).send, args=(body,)) for _ in range(3)]
    with requests.Session() as session:
        assert session.get(f"{hub.url}/health", timeout=5).text == "OK"
        for one in work:
            one.start()
        took = []
        while any(one.is_alive() for one in work):
            began = time.perf_counter()
            assert session.get(f"{hub.url}/health", timeout=5).status_code == 200
            took.append(time.perf_counter() - began)
    assert len(took) > 3
    assert sorted(took)[len(took) // 2] < 0.1


def hashed(seed: int) -> bytes:
    block = b"".join(hashlib.sha256(bytes((seed, n))).digest() for n in range(256))
    size = 1080 * 1920 * 3
    return (block * (size // len(block) + 1))[:size]


def test_a_caller_who_leaves_ends_the_call(hub: HubBefore) -> None:
    hub.forget()
    place = urlsplit(hub.url)
    body = json.dumps({"model": "hangs", "messages": base64.b64encode(pickle.dumps(HELLO)).decode()}).encode()
    head = f"POST /agentstudio/{hub.key}/generate HTTP/1.1\r\nhost: hub\r\ncontent-length: {len(body)}\r\n\r\n"
    with socket.create_connection((place.hostname, place.port), 5) as connection:
        connection.sendall(head.encode() + body)
        hub.upstream.wait_for_requests_sync()
    assert hub.upstream.wait_for_disconnect_sync(5).request.fields()["model"] == "hangs"


@pytest.mark.parametrize(("method", "path", "status"), [
    ("GET", "/generate", 405), ("POST", "/health", 405),
    ("GET", "/agentstudio/x/other", 404), ("GET", "/agentstudio/", 404),
    ("GET", "/agentstudio/health", 200), ("GET", "/agentstudio/sk-byom-x/health", 200), ("HEAD", "/health", 200),
])  # fmt: skip
def test_other_routes(hub: HubBefore, method: str, path: str, status: int) -> None:
    assert requests.request(method, hub.url + path, timeout=5).status_code == status
