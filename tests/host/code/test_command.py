"""``byom host``: one line to serve, one line to connect."""

from __future__ import annotations

import json
import os
import re
import signal
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest
from typer.testing import CliRunner

from byom.cli.main import app
from tests.host.code.conftest import USER_CODE, alive, wait_for_end
from tests.upstream.certificates import server_context


@pytest.fixture
def command(tmp_path: Path) -> Iterator[Callable[..., tuple[subprocess.Popen[str], list[str]]]]:
    """Starts ``byom host`` and gives its process and the lines that it prints."""
    running: list[subprocess.Popen[str]] = []
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"contract": "odd_models:load"}))

    def start(*arguments: str, **env: str) -> tuple[subprocess.Popen[str], list[str]]:
        line = [sys.executable, "-m", "byom", "host", "odd", "--port", "0", "--config", str(config), *arguments]
        environment = {**os.environ, "PYTHONPATH": str(USER_CODE), **env}
        process = subprocess.Popen(line, stdout=subprocess.PIPE, env=environment, text=True, start_new_session=True)
        running.append(process)
        return process, [process.stdout.readline().strip() for _ in range(3)]

    yield start
    for process in running:
        process.terminate()
        process.wait(20)
        process.stdout.close()


def say(url: str, key: str | None, **settings: object) -> httpx2.Response:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    body = {"model": "sync", "messages": [{"role": "user", "content": "say hello"}]}
    with httpx2.Client(headers=headers, timeout=30, **settings) as http:
        return http.post(f"{url}/chat/completions", json=body)


def test_a_key_is_made_and_shown_in_the_line_that_connects(command):
    _, lines = command("--name", "box")
    line = re.fullmatch(r"echo (\S+) \| byom connect box --url (\S+) --all --key-stdin", lines[2])
    assert line, lines
    key, url = line.groups()
    assert lines[0] == f"Serving at {url}"
    assert say(url, key).json()["choices"][0]["message"]["content"] == "hello"
    assert say(url, None).status_code == 401


def test_a_given_key_is_not_shown(command):
    _, lines = command("--key-env", "BOX_KEY", BOX_KEY="sk-given-key")
    assert lines[2].endswith("--all --key-stdin")
    assert "sk-given-key" not in "".join(lines)
    assert say(lines[0].split()[-1], "sk-given-key").status_code == 200


def test_it_serves_https_with_the_name_of_its_certificate(command, tmp_path):
    _, trusted = server_context(tmp_path, name="localhost")
    certificate, private = tmp_path / "server.pem", tmp_path / "server.key"
    _, lines = command("--tls-cert", str(certificate), "--tls-key", str(private), "--key", "sk-x")
    url = lines[0].split()[-1]
    assert url.startswith("https://localhost:")
    assert say(url, "sk-x", verify=ssl.create_default_context(cafile=trusted)).status_code == 200
    with pytest.raises(httpx2.ConnectError):
        say(url, "sk-x")


def test_who_may_call_the_models_may_not_say_what_runs_nor_read_the_log(command):
    _, lines = command("--key", "sk-caller")
    url = lines[0].split()[-1].removesuffix("/v1")
    with httpx2.Client(headers={"authorization": "Bearer sk-caller"}, timeout=30) as http:
        assert http.put(f"{url}/-/configuration", json={"target": "os:system"}).status_code == 404
        assert http.get(f"{url}/-/logs").status_code == 404
    assert say(f"{url}/v1", "sk-caller").status_code == 200


def test_on_a_loopback_address_no_key_is_needed(command):
    _, lines = command("--no-key")
    assert "key" not in lines[2]
    assert say(lines[0].split()[-1], None).status_code == 200


def test_a_certificate_without_its_key_is_a_clear_error(tmp_path):
    server_context(tmp_path)
    line = [sys.executable, "-m", "byom", "host", "odd", "--port", "0", "--tls-cert", str(tmp_path / "server.pem")]
    done = subprocess.run(line, capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert "The certificate and its key cannot be used" in done.stderr


def test_without_a_key_it_listens_on_this_machine_only():
    given = CliRunner().invoke(app, ["host", "odd", "--host", "0.0.0.0", "--no-key"])
    assert given.exit_code == 2
    assert "a key is needed" in " ".join(given.output.replace("│", " ").split())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_nothing_of_it_is_left_whatever_ends_it(command, number):
    process, lines = command("--no-key")
    url = lines[0].split()[-1]
    assert say(url, None).status_code == 200
    found = httpx2.get(url.replace("/v1", "/readyz")).json()["workers"]
    pids = [worker["pid"] for worker in found]
    assert all(map(alive, pids))
    process.send_signal(number)
    process.wait(20)
    for pid in pids:
        wait_for_end(pid)
