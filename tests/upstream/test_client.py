from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import httpx2
import pytest

from byom.errors import DestinationDenied, UpstreamUnreachable
from byom.types.target import NetworkPolicy, Target, Timeouts
from byom.upstream.client import client_for
from byom.upstream.network import Resolver
from tests.upstream.certificates import server_context
from tests.upstream.small_server import Reply, small_server

OPEN = NetworkPolicy()
OK = {"/v1/models": Reply(body={"ok": True})}


def target(port: int, host: str = "127.0.0.1", **fields: Any) -> Target:
    return Target(host=host, port=port, base_path="/v1", **({"scheme": "http"} | fields))


def pinned(*addresses: str) -> Resolver:
    return Resolver(lookup=lambda host: list(addresses))


async def test_a_name_is_resolved_once_and_only_the_pinned_address_is_connected_to() -> None:
    asked: list[str] = []

    def lookup(host: str) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["169.254.169.254"]

    async with small_server(OK) as server:
        resolver = Resolver(lookup=lookup)
        async with client_for(target(server.port, "gpu.example"), OPEN, resolver=resolver) as client:
            assert (await client.get("models")).json() == {"ok": True}
            assert (await client.get("models")).json() == {"ok": True}
    assert asked == ["gpu.example"]
    assert server.got[0].headers["host"] == f"gpu.example:{server.port}"
    assert server.connections == [1]


async def test_tls_is_checked_against_the_name_and_not_the_address(tmp_path: Path) -> None:
    context, trust = server_context(tmp_path, name="gpu.example", ca=True)
    names: list[str | None] = []
    context.sni_callback = lambda _, name, __: names.append(name)
    async with small_server(OK, tls=context) as server:
        right = target(server.port, "gpu.example", scheme="https", ca_file=str(trust))
        async with client_for(right, OPEN, resolver=pinned("127.0.0.1")) as client:
            assert (await client.get("models")).status_code == 200
        wrong = target(server.port, "other.example", scheme="https", ca_file=str(trust))
        async with client_for(wrong, OPEN, resolver=pinned("127.0.0.1")) as client:
            with pytest.raises(httpx2.ConnectError):
                await client.get("models")
    assert names == ["gpu.example", "other.example"]


async def test_the_next_address_is_tried_when_one_refuses() -> None:
    async with small_server(OK) as server:
        resolver = pinned("127.0.0.2", "127.0.0.1")  # nothing listens on the first
        async with client_for(target(server.port, "two.example"), OPEN, resolver=resolver) as client:
            assert (await client.get("models")).status_code == 200


async def test_a_forbidden_address_is_never_connected_to() -> None:
    async with small_server(OK) as server:
        policy = NetworkPolicy(allow_loopback=False)
        async with client_for(target(server.port, "gpu.example"), policy, resolver=pinned("127.0.0.1")) as client:
            with pytest.raises(DestinationDenied):
                await client.get("models")
        async with client_for(target(server.port, trusted=True), policy) as client:
            assert (await client.get("models")).status_code == 200
    assert server.connections == [1]


async def test_the_key_goes_to_its_own_host_alone() -> None:
    """Gateway checklist 61."""
    async with small_server(OK) as mine, small_server(OK) as other:
        saved = target(mine.port, authorization="Bearer secret", headers=(("x-team", "a"),))
        async with client_for(saved, OPEN) as client:
            await client.get("models")
            for url in (f"http://127.0.0.1:{other.port}/v1/models", f"https://127.0.0.1:{mine.port}/v1/models"):
                with pytest.raises(DestinationDenied):
                    await client.get(url)
    assert mine.got[0].headers["authorization"] == "Bearer secret"
    assert mine.got[0].headers["x-team"] == "a"
    assert other.connections == [0]


async def test_redirects_are_not_followed() -> None:
    away = Reply(302, b"", headers={"location": "http://169.254.169.254/"})
    async with small_server({"/v1/models": away}) as server, client_for(target(server.port), OPEN) as client:
        assert (await client.get("models")).status_code == 302


async def test_proxies_of_the_environment_are_used_only_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async with small_server(OK) as server, small_server({}) as proxy:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("no_proxy", "")
        async with client_for(target(server.port), OPEN) as client:
            assert (await client.get("models")).status_code == 200
        assert proxy.connections == [0]
        async with client_for(target(server.port), OPEN, use_env_proxy=True) as client:
            assert (await client.get("models")).status_code == 404
        assert proxy.got[0].path == f"http://127.0.0.1:{server.port}/v1/models"
        denied = NetworkPolicy(allow_loopback=False)
        async with client_for(target(server.port), denied, use_env_proxy=True) as client:
            with pytest.raises(DestinationDenied):
                await client.get("models")
    assert proxy.connections == [1]


async def test_a_name_that_does_not_exist_and_a_handshake_that_hangs() -> None:
    def lookup(host: str) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "no")

    async with client_for(target(80, "no.example"), OPEN, resolver=Resolver(lookup=lookup)) as client:
        with pytest.raises(UpstreamUnreachable):
            await client.get("models")
    silent = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    async with silent:
        port = silent.sockets[0].getsockname()[1]
        timeouts = Timeouts(connect=0.2)
        async with client_for(target(port, scheme="https", verify_tls=False), OPEN, timeouts=timeouts) as client:
            with pytest.raises(httpx2.TransportError):
                await client.get("models")
