"""How a client finds its hub."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from byom._client.place import find_place
from byom.client import Client, HubUnreachable
from byom.errors import (
    BadRequest,
    ByomError,
    ConfigError,
    LimitExceeded,
    NotFound,
    PayloadTooLarge,
    PermissionDenied,
    Unavailable,
    UpstreamError,
    UpstreamTimeout,
)
from byom.testing import Behavior, FakeUpstream
from tests.client.hubs import RunningHub


def test_the_argument_goes_before_the_variable_and_the_running_hub(running_hub: RunningHub) -> None:
    environ = {"BYOM_URL": "http://variable:1", "BYOM_API_KEY": "sk-byom-v", "BYOM_HOME": str(running_hub.home)}
    assert find_place("http://argument:2", environ=environ).url == "http://argument:2"
    named = find_place(environ=environ)
    assert (named.url, named.key, named.origin) == ("http://variable:1", "sk-byom-v", "BYOM_URL")
    found = find_place(environ={"BYOM_HOME": str(running_hub.home)})
    assert (found.url, found.key, found.origin) == (running_hub.url, running_hub.key, "hub.json")


def test_the_admin_key_of_a_home_is_never_used_for_another_hub(running_hub: RunningHub) -> None:
    environ = {"BYOM_HOME": str(running_hub.home)}
    assert find_place("http://elsewhere:8420", environ=environ).key is None
    assert find_place(f"{running_hub.url}/v1/", environ=environ).key == running_hub.key


@pytest.mark.parametrize(
    ("pasted", "url"),
    [
        ("http://hub:8420/", "http://hub:8420"),
        ("http://hub:8420/v1", "http://hub:8420"),
        ("https://hub.example.org/prefix/v1/", "https://hub.example.org/prefix"),
        ("hub:8420", "http://hub:8420"),
        ("http://[::1]:8420/api", "http://[::1]:8420"),
    ],
)
def test_the_url_is_taken_as_people_paste_it(pasted: str, url: str, tmp_path: Path) -> None:
    assert find_place(pasted, home=tmp_path).url == url


@pytest.mark.parametrize("text", ["ftp://hub", "http://", "http://hub:99999", "http://u:p@hub", "http://hub/?a=1"])
def test_a_url_that_is_none_is_refused_without_being_repeated(text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        find_place(text, home=tmp_path)
    assert "u:p" not in str(error.value)


def test_what_a_killed_hub_left_behind_is_passed_over(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        (tmp_path / "hub.json").write_text(json.dumps({"pid": os.getpid(), "url": url}))
        assert find_place(home=tmp_path).in_process
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (tmp_path / "hub.json").write_text(json.dumps({"pid": dead.pid, "url": url}))
    assert find_place(home=tmp_path).in_process
    (tmp_path / "hub.json").write_text("{")
    assert find_place(home=tmp_path).in_process


def test_where_no_hub_answers_the_error_says_how_to_get_one(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with Client(url, home=tmp_path) as client, pytest.raises(HubUnreachable, match="byom serve") as error:
            client.model_names()
    assert "BYOM_URL" in str(error.value)
    assert url in str(error.value)


def test_a_proxy_of_the_environment_is_not_used_for_a_hub_on_this_machine(
    running_hub: RunningHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with Client(running_hub.url, running_hub.key) as client:
        assert "extractive" in client.model_names()


def test_neither_key_nor_hub_shows_a_secret_in_its_repr(running_hub: RunningHub) -> None:
    with Client(running_hub.url, running_hub.key) as client:
        assert running_hub.key not in repr(client) + repr(client.place)


def test_a_hub_that_cannot_serve_just_now_is_asked_again(tmp_path: Path) -> None:
    error = {"message": "starting", "type": "server_error", "code": "starting"}
    busy = Behavior(status=503, error=error, retry_after=0.05)
    with FakeUpstream(Behavior(text="here")) as hub, Client(hub.url, "sk-byom-x", home=tmp_path) as client:
        hub.enqueue(busy, busy)
        assert client.chat("any", "Hi").text == "here"
        assert len(hub.requests) == 3
        hub.enqueue(*[busy] * 9)
        with pytest.raises(Unavailable, match="starting") as refused:
            client.chat("any", "Hi")
        assert refused.value.code == "starting"
        assert 0 < hub.queued < 9


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, BadRequest),
        (403, PermissionDenied),
        (404, NotFound),
        (413, PayloadTooLarge),
        (418, ByomError),
        (429, LimitExceeded),
        (500, ByomError),
        (502, UpstreamError),
        (504, UpstreamTimeout),
        (599, UpstreamError),
    ],
)
def test_an_answer_in_another_form_is_still_an_error_of_its_status(
    status: int, kind: type[ByomError], tmp_path: Path
) -> None:
    odd = Behavior(status=status, body="<p>nginx</p>")
    with (
        FakeUpstream(odd) as hub,
        Client(hub.url, "sk-byom-x", home=tmp_path) as client,
        pytest.raises(ByomError, match="nginx") as error,
    ):
        client.chat("any", "Hi")
    assert type(error.value) is kind
