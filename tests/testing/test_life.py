"""Starting, stopping, waiting, TLS and the command line of a fake upstream."""

from __future__ import annotations

import asyncio
import datetime as dt
import socket
import ssl
import subprocess
import sys
import threading

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from byom.testing import Behavior, BehaviorError, FakeUpstream, RateLimit, ScriptedToolCall
from byom.testing.fake_upstream import main
from tests.testing.raw import RawCaller


@pytest.fixture
def certificate(tmp_path):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = tmp_path / "cert.pem", tmp_path / "key.pem"
    cert_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return cert_file, key_file


def test_it_serves_tls_with_a_given_certificate(certificate):
    context = ssl.create_default_context(cafile=str(certificate[0]))
    with FakeUpstream(tls=certificate) as upstream:
        answer = httpx2.get(f"https://localhost:{upstream.port}/v1/models", verify=context)
        assert answer.json()["data"][0]["id"] == "fake-model"
        with pytest.raises(httpx2.ConnectError):
            httpx2.get(f"{upstream.base_url}/models")


def test_nothing_listens_and_no_thread_runs_after_it():
    before = threading.active_count()
    with FakeUpstream() as upstream:
        httpx2.get(f"{upstream.base_url}/models")
        port = upstream.port
    assert threading.active_count() == before
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def test_a_port_in_use_is_reported_where_it_is_started():
    with FakeUpstream() as first, pytest.raises(OSError, match="in use"):
        FakeUpstream(port=first.port).__enter__()


async def test_a_server_in_a_thread_can_be_waited_for_from_a_loop():
    with FakeUpstream(Behavior(hang=True)) as upstream:
        waiting = asyncio.create_task(upstream.wait_for_disconnect())
        with RawCaller(upstream) as caller:
            await asyncio.to_thread(caller.chat)
            await upstream.wait_for_requests()
        assert (await waiting).chunks_sent == 0
        await upstream.wait_until_idle()
        await upstream.wait_for_connections(0)


async def test_waiting_ends_with_a_timeout_that_says_for_what():
    async with FakeUpstream() as upstream:
        with pytest.raises(TimeoutError, match="disconnect 1 did not happen within"):
            await upstream.wait_for_disconnect(0.01)
        with pytest.raises(TimeoutError, match="request 2"):
            upstream.wait_for_requests_sync(2, 0.01)


async def test_dropping_connections_breaks_calls_in_flight():
    async with FakeUpstream(Behavior(hang=True)) as upstream, httpx2.AsyncClient() as http:
        call = asyncio.create_task(http.post(f"{upstream.base_url}/chat/completions", json={}))
        await upstream.wait_for_requests()
        upstream.drop_connections()
        with pytest.raises(httpx2.TransportError):
            await call
        await upstream.wait_until_idle()
        assert upstream.disconnects == []


async def test_pipelined_requests_are_answered_in_order():
    with FakeUpstream() as upstream, RawCaller(upstream) as caller:
        upstream.enqueue(Behavior(text="first", latency=0.02), Behavior(text="second"))
        caller.chat()
        caller.chat()
        answers = caller.read_until(b"second")
        assert answers.index(b"first") < answers.index(b"second")


def test_expect_continue_is_answered_before_the_body():
    with FakeUpstream() as upstream, RawCaller(upstream) as caller:
        caller.socket.sendall(b"POST /v1/x HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert caller.read_until(b"\r\n\r\n").startswith(b"HTTP/1.1 100 ")
        caller.socket.sendall(b"{}")
        assert b"200 OK" in caller.read_until(b"}")


def test_a_broken_request_is_refused():
    with FakeUpstream() as upstream, RawCaller(upstream) as caller:
        caller.socket.sendall(b"NOT HTTP AT ALL\r\n\r\n")
        assert caller.read_all()[0].startswith(b"HTTP/1.1 400")


def test_forgetting_keeps_the_script():
    with FakeUpstream(Behavior(text="kept")) as upstream:
        httpx2.get(f"{upstream.base_url}/models")
        upstream.wait_for_connections_sync(0)
        upstream.forget()
        assert (upstream.requests, upstream.connections_accepted, upstream.open_requests) == ([], 0, 0)


def test_a_behaviour_is_parsed_from_texts():
    parsed = Behavior.parse(
        [
            *("latency=0.5", "text=1 2", "sse=crlf,bom", "rate_limit=5/10", "omit_done=true"),
            *('tokens=["a"]', 'tool_calls=[{"name": "f"}]'),
        ]
    )
    assert parsed == Behavior(
        latency=0.5,
        text="1 2",
        sse=frozenset({"crlf", "bom"}),
        rate_limit=RateLimit(5, 10),
        omit_done=True,
        tokens=("a",),
        tool_calls=(ScriptedToolCall("f"),),
    )


@pytest.mark.parametrize(
    "setting", ["nonsense=1", "latency", "usage=sometimes", "sse=odd", "rate_limit=x", "dribble=0"]
)
def test_a_behaviour_that_makes_no_sense_is_refused(setting):
    with pytest.raises(BehaviorError):
        Behavior.parse([setting])


def test_the_command_line_serves_until_it_is_terminated():
    command = [sys.executable, "-m", "byom.testing.fake_upstream", "--behavior", "text=by hand", "--model", "mine"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        base_url = process.stdout.readline().strip()
        try:
            assert httpx2.get(f"{base_url}/models").json()["data"][0]["id"] == "mine"
        finally:
            process.terminate()
    assert process.returncode == 0


def test_the_command_line_refuses_unknown_behaviours(capsys):
    assert main(["--behavior", "speed=9"]) == 2
    assert "speed=9" in capsys.readouterr().err
