from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading

import pytest

from byom.errors import DestinationDenied, UpstreamUnreachable
from byom.types.target import NetworkPolicy
from byom.upstream.addresses import classes, literal
from byom.upstream.network import Address, Resolver, resolve

OPEN = NetworkPolicy()
PUBLIC_ONLY = NetworkPolicy(allow_loopback=False, allow_private=False)


def resolver_for(**names: list[str] | BaseException) -> Resolver:
    def lookup(host: str) -> list[str]:
        answer = names[host.replace(".", "_")]
        if isinstance(answer, BaseException):
            raise answer
        return answer

    return Resolver(lookup=lookup)


@pytest.mark.parametrize(
    ("host", "setting"),
    [
        ("127.0.0.1", "network.allow_loopback"),
        ("127.1.2.3", "network.allow_loopback"),
        ("2130706433", "network.allow_loopback"),
        ("0x7f.1", "network.allow_loopback"),
        ("017700000001", "network.allow_loopback"),
        ("0x7f000001", "network.allow_loopback"),
        ("127.1", "network.allow_loopback"),
        ("::1", "network.allow_loopback"),
        ("::ffff:127.0.0.1", "network.allow_loopback"),
        ("::127.0.0.1", "network.allow_loopback"),
        ("64:ff9b::7f00:1", "network.allow_loopback"),
        ("64:ff9b:1::7f00:1", "network.allow_loopback"),
        ("2002:7f00:1::", "network.allow_loopback"),
        ("10.1.2.3", "network.allow_private"),
        ("172.31.255.255", "network.allow_private"),
        ("192.168.0.1", "network.allow_private"),
        ("100.64.0.1", "network.allow_private"),
        ("fd12:3456::1", "network.allow_private"),
        ("fec0::1", "network.allow_private"),
        ("::ffff:10.0.0.1", "network.allow_private"),
        ("2002:0a00:0001::1", "network.allow_private"),
        ("2001:0:0808:0808:0:0:f5ff:fffe", "network.allow_private"),  # Teredo; the client is 10.0.0.1
        ("2001:0:0a00:0001:0:0:f7f7:f7f7", "network.allow_private"),  # Teredo; the server is 10.0.0.1
        ("fe80::5efe:10.0.0.1", None),
    ],
)
async def test_a_policy_that_allows_the_public_internet_alone_denies(host: str, setting: str | None) -> None:
    with pytest.raises(DestinationDenied) as caught:
        await resolve(host, 80, PUBLIC_ONLY)
    assert caught.value.details.get("setting") == setting
    assert setting is None or setting in str(caught.value)


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "2852039166",
        "0xa9fea9fe",
        "0251.0376.0251.0376",
        "169.254.43518",
        "169.254.170.2",
        "169.254.170.23",
        "100.100.100.200",
        "192.0.0.192",
        "168.63.129.16",
        "fd00:ec2::254",
        "fd20:ce::254",
        "::ffff:169.254.169.254",
        "::ffff:a9fe:a9fe",
        "::169.254.169.254",
        "::ffff:0:169.254.169.254",
        "64:ff9b::169.254.169.254",
        "64:ff9b:1::169.254.169.254",
        "2002:a9fe:a9fe::1",
        "2001:0:0808:0808:0:0:5601:5601",
        "metadata.google.internal",
        "METADATA.google.internal.",
        "metadata",
        "instance-data",
    ],
)
@pytest.mark.parametrize("trusted", [False, True])
async def test_cloud_metadata_is_denied_whatever_the_policy_says(host: str, trusted: bool) -> None:
    with pytest.raises(DestinationDenied) as caught:
        await resolve(host, 80, OPEN, trusted=trusted)
    assert "never allowed" in str(caught.value)
    assert "setting" not in caught.value.details


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "0", "::", "224.0.0.1", "ff02::1", "255.255.255.255", "169.254.1.1", "fe80::1"]
)
async def test_addresses_that_are_no_destination_are_denied(host: str) -> None:
    with pytest.raises(DestinationDenied):
        await resolve(host, 80, OPEN)


@pytest.mark.parametrize("host", ["8.8.8.8", "2606:4700::1111", "64:ff9b::8.8.8.8", "::ffff:8.8.8.8", "134744072"])
async def test_public_addresses_pass_also_through_a_translator(host: str) -> None:
    assert len(await resolve(host, 80, PUBLIC_ONLY)) == 1


async def test_numeric_forms_are_pinned_to_what_the_system_would_connect_to() -> None:
    assert await resolve("0x7f.1", 81, OPEN) == (Address("127.0.0.1", 81, socket.AF_INET),)
    for text in ("2130706433", "0x7f.1", "017700000001", "127.1", "0x7f.0.0.0x1"):
        assert str(literal(text)) == socket.getaddrinfo(text, None, type=socket.SOCK_STREAM)[0][4][0]


async def test_one_forbidden_address_among_several_denies_the_name() -> None:
    resolver = resolver_for(mixed_example=["8.8.8.8", "10.0.0.1"])
    with pytest.raises(DestinationDenied, match=r"mixed\.example \(10\.0\.0\.1\)"):
        await resolver.resolve("mixed.example", 443, PUBLIC_ONLY)


async def test_a_name_that_rebinds_is_checked_again() -> None:
    answers = [["8.8.8.8"], ["169.254.169.254"]]
    now = [0.0]
    resolver = Resolver(lookup=lambda host: answers.pop(0), ttl=30.0, clock=lambda: now[0])
    assert await resolver.resolve("rebind.example", 80, OPEN) == (Address("8.8.8.8", 80, socket.AF_INET),)
    assert await resolver.resolve("rebind.example", 80, OPEN)  # still from the cache
    now[0] = 31.0
    with pytest.raises(DestinationDenied):
        await resolver.resolve("rebind.example", 80, OPEN)


async def test_a_policy_change_takes_effect_on_cached_names() -> None:
    resolver = resolver_for(gpu_lan=["192.168.1.9"])
    assert await resolver.resolve("gpu.lan", 80, OPEN)
    assert resolver.cached("gpu.lan", 80, OPEN)
    with pytest.raises(DestinationDenied):
        await resolver.resolve("gpu.lan", 80, PUBLIC_ONLY)


async def test_allowed_and_denied_hosts_by_name_wildcard_and_network() -> None:
    resolver = resolver_for(a_example_org=["8.8.8.8"], example_org=["8.8.8.8"], b_example_com=["10.0.0.7"])
    only = NetworkPolicy(allow_hosts=("*.example.org", "10.0.0.0/8"))
    assert await resolver.resolve("a.example.org", 80, only)
    assert await resolver.resolve("b.example.com", 80, only)
    with pytest.raises(DestinationDenied, match="allow_hosts"):
        await resolver.resolve("example.org", 80, only)
    without = NetworkPolicy(deny_hosts=("example.org", "10.0.0.0/8"))
    assert await resolver.resolve("a.example.org", 80, without)
    for host in ("example.org", "EXAMPLE.org.", "b.example.com", "::ffff:10.1.1.1"):
        with pytest.raises(DestinationDenied, match="deny_hosts"):
            await resolver.resolve(host, 80, without)


async def test_a_process_of_this_hub_is_reached_whatever_the_policy_says() -> None:
    assert await resolve("127.0.0.1", 80, PUBLIC_ONLY, trusted=True)


async def test_an_unknown_name_is_unreachable_with_the_reason() -> None:
    resolver = resolver_for(nowhere_example=socket.gaierror(socket.EAI_NONAME, "no"))
    with pytest.raises(UpstreamUnreachable, match=r"'nowhere\.example' does not exist"):
        await resolver.resolve("nowhere.example", 80, OPEN)


async def test_a_hanging_name_server_of_one_host_blocks_no_other_and_has_one_thread() -> None:
    """Gateway checklist 38."""
    release = threading.Event()
    asked: list[str] = []

    def lookup(host: str) -> list[str]:
        asked.append(host)
        if host == "slow.example":
            release.wait(10)
        return ["8.8.8.8"]

    resolver = Resolver(lookup=lookup, timeout=0.1)
    slow = [asyncio.create_task(resolver.resolve("slow.example", 80, OPEN)) for _ in range(50)]
    assert await resolver.resolve("fast.example", 80, OPEN)
    results = await asyncio.gather(*slow, return_exceptions=True)
    assert all(isinstance(result, UpstreamUnreachable) for result in results)
    assert asked.count("slow.example") == 1
    release.set()


async def test_a_failing_name_server_is_bridged_by_what_is_known() -> None:
    now = [0.0]
    answers: list[list[str] | OSError] = [["8.8.8.8"], socket.gaierror(socket.EAI_AGAIN, "later")]

    def lookup(host: str) -> list[str]:
        answer = answers[min(len(answers) - 1, calls.pop(0))]
        if isinstance(answer, OSError):
            raise answer
        return answer

    calls = [0, 1, 1]
    resolver = Resolver(lookup=lookup, ttl=10.0, stale=100.0, clock=lambda: now[0])
    await resolver.resolve("n.example", 80, OPEN)
    now[0] = 50.0
    assert await resolver.resolve("n.example", 80, OPEN)
    now[0] = 150.0
    with pytest.raises(UpstreamUnreachable, match="not reachable"):
        await resolver.resolve("n.example", 80, OPEN)


async def test_localhost_resolves_through_the_system() -> None:
    addresses = await resolve("localhost", 8000, OPEN)
    assert {address.ip for address in addresses} <= {"127.0.0.1", "::1"}


def test_an_address_that_wraps_another_is_what_it_wraps() -> None:
    assert [kind for kind, _ in classes(ipaddress.ip_address("::ffff:10.0.0.1"))] == ["private"]
    assert [kind for kind, _ in classes(ipaddress.ip_address("::1"))] == ["loopback"]
