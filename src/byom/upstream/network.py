"""The network policy: resolve a name, check all its addresses, and hand out only checked ones to connect to.

Whoever connects must connect to the addresses given here, never to the name, or a name that changes between check and
connection (DNS rebinding) slips through.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import functools
import ipaddress
import socket
import threading
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

from byom.errors import DestinationDenied, UpstreamUnreachable
from byom.types.target import NetworkPolicy
from byom.upstream.addresses import AddressClass, IPAddress, classes, is_metadata_name, literal

Lookup = Callable[[str], Iterable[str]]
"""Addresses of a name; raises ``OSError``. Blocking: it is called in a thread."""

_SETTING: dict[AddressClass, str] = {
    "loopback": "allow_loopback",
    "private": "allow_private",
    "public": "allow_public",
}
_WHAT: dict[AddressClass, str] = {
    "loopback": "this machine",
    "private": "a private network",
    "public": "the public internet",
    "link-local": "link-local",
    "reserved": "a reserved range",
    "multicast": "multicast",
    "metadata": "a cloud metadata service",
}


class Address(NamedTuple):
    """A checked place to connect to."""

    ip: str
    port: int
    family: socket.AddressFamily


def check_host(host: str, policy: NetworkPolicy, *, trusted: bool = False) -> None:
    """Check what the name alone tells. Raises `DestinationDenied`."""
    name = host.rstrip(".").lower()
    if is_metadata_name(name):
        raise _denied(host, f"{host} is {_WHAT['metadata']}, which is never allowed", "metadata", None)
    if trusted:
        return
    if _matches(name, policy.deny_hosts):
        raise _denied(host, f"{host} is in the list of denied hosts", "deny_hosts", "deny_hosts")
    if policy.allow_hosts and not _matches(name, policy.allow_hosts) and not _networks(policy.allow_hosts):
        raise _denied(host, f"{host} is not in the list of allowed hosts", "allow_hosts", "allow_hosts")


def check_address(host: str, address: IPAddress, policy: NetworkPolicy, *, trusted: bool = False) -> None:
    """Check one address that ``host`` has, and every address embedded in it. Raises `DestinationDenied`."""
    for kind, inner in classes(address):
        where = f"{host} ({address})" if host != str(address) else host
        if inner != address:
            where += f", which leads to {inner},"
        if kind in ("metadata", "link-local", "multicast", "reserved"):
            raise _denied(host, f"{where} is {_WHAT[kind]}, which is never allowed", kind, None, address)
        if trusted:
            continue
        setting = _SETTING[kind]
        if not getattr(policy, setting):
            what = f"{where} is in {_WHAT[kind]}, which the network policy forbids"
            raise _denied(host, what, kind, setting, address)
        if _inside(inner, policy.deny_hosts):
            raise _denied(host, f"{where} is in the list of denied hosts", "deny_hosts", "deny_hosts", address)
    if trusted or not policy.allow_hosts or _matches(host.rstrip(".").lower(), policy.allow_hosts):
        return
    if not all(_inside(inner, policy.allow_hosts) for _, inner in classes(address)):
        raise _denied(host, f"{host} ({address}) is not in the list of allowed hosts", "allow_hosts", "allow_hosts")


def _denied(
    host: str, what: str, rule: str, setting: str | None, address: IPAddress | None = None
) -> DestinationDenied:
    advice = {
        None: "",
        "allow_hosts": " An administrator can add the host to the setting network.allow_hosts.",
        "deny_hosts": " An administrator can take it out of the setting network.deny_hosts.",
    }.get(setting, f" An administrator can allow it with the setting network.{setting} = true.")
    details = {"host": host, "rule": rule}
    if address is not None:
        details["address"] = str(address)
    if setting is not None:
        details["setting"] = f"network.{setting}"
    return DestinationDenied(f"{what}.{advice}", details=details)


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    """``*.example.org`` matches below ``example.org``; everything else matches exactly."""
    for pattern in patterns:
        pattern = pattern.strip().rstrip(".").lower()
        if pattern == name or (pattern.startswith("*.") and name.endswith(pattern[1:])):
            return True
    return False


@functools.lru_cache(maxsize=64)
def _networks(patterns: tuple[str, ...]) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    """Those entries that are addresses or networks (``10.0.0.0/8``)."""
    found = []
    for pattern in patterns:
        try:
            found.append(ipaddress.ip_network(pattern.strip("[] "), strict=False))
        except ValueError:
            continue
    return tuple(found)


def _inside(address: IPAddress, patterns: tuple[str, ...]) -> bool:
    return any(address.version == net.version and address in net for net in _networks(patterns))


def system_lookup(host: str) -> list[str]:
    """The operating system's resolver."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class _Entry(NamedTuple):
    addresses: tuple[IPAddress, ...]
    at: float


class Resolver:
    """Names to checked addresses, with a cache. One for a process; any event loop may use it.

    Each look-up has its own daemon thread, and one name never has two: a name server that hangs for one upstream
    takes neither the threads of others nor the end of the process.
    """

    def __init__(
        self,
        *,
        lookup: Lookup = system_lookup,
        timeout: float = 5.0,
        ttl: float = 30.0,
        stale: float = 300.0,
        max_lookups: int = 64,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``ttl``: seconds an answer is used. ``stale``: seconds it is still used when the name server fails."""
        self._lookup = lookup
        self._timeout = timeout
        self._ttl = ttl
        self._stale = stale
        self._max_lookups = max_lookups
        self._clock = clock
        self._cache: dict[str, _Entry] = {}
        self._running: dict[str, concurrent.futures.Future[tuple[IPAddress, ...]]] = {}
        self._lock = threading.Lock()

    async def resolve(
        self, host: str, port: int, policy: NetworkPolicy, *, trusted: bool = False
    ) -> tuple[Address, ...]:
        """Addresses of ``host``, all of which the policy allows, IPv4 and IPv6 in the system's order.

        Raises `DestinationDenied` when the policy forbids *any* of them and `UpstreamUnreachable` when there is none.
        The policy is applied anew on each call, so that a change takes effect at once.
        """
        check_host(host, policy, trusted=trusted)
        address = literal(host)
        addresses = (address,) if address is not None else await self._addresses(host.rstrip(".").lower())
        for one in addresses:
            check_address(host, one, policy, trusted=trusted)
        return tuple(_address(one, port) for one in addresses)

    def cached(
        self, host: str, port: int, policy: NetworkPolicy, *, trusted: bool = False
    ) -> tuple[Address, ...] | None:
        """As `resolve`, but only if that needs no look-up; ``None`` otherwise."""
        address = literal(host)
        entry = None if address is not None else self._cache.get(host.rstrip(".").lower())
        if address is None and (entry is None or self._clock() - entry.at >= self._ttl):
            return None
        check_host(host, policy, trusted=trusted)
        addresses = (address,) if address is not None else entry.addresses if entry else ()
        for one in addresses:
            check_address(host, one, policy, trusted=trusted)
        return tuple(_address(one, port) for one in addresses)

    def forget(self, host: str) -> None:
        """Drop what is remembered of a name, for example after none of its addresses answered."""
        self._cache.pop(host.rstrip(".").lower(), None)

    async def _addresses(self, name: str) -> tuple[IPAddress, ...]:
        entry = self._cache.get(name)
        if entry is not None and self._clock() - entry.at < self._ttl:
            return entry.addresses
        try:
            async with asyncio.timeout(self._timeout):
                return await _result(self._start(name))
        except TimeoutError:
            failure = UpstreamUnreachable(
                f"The name server did not answer for '{name}' within {self._timeout:g} s. Check this machine's DNS.",
                details={"problem": "dns", "host": name},
            )
        except (OSError, UnicodeError) as error:
            failure = _dns_failure(name, error)
        if entry is not None and self._clock() - entry.at < self._stale:
            return entry.addresses
        raise failure

    def _start(self, name: str) -> concurrent.futures.Future[tuple[IPAddress, ...]]:
        with self._lock:
            running = self._running.get(name)
            if running is not None:
                return running
            if len(self._running) >= self._max_lookups:
                raise OSError(f"{self._max_lookups} look-ups are already waiting for the name server")
            future: concurrent.futures.Future[tuple[IPAddress, ...]] = concurrent.futures.Future()
            self._running[name] = future
        threading.Thread(target=self._run, args=(name, future), name=f"dns-{name}", daemon=True).start()
        return future

    def _run(self, name: str, future: concurrent.futures.Future[tuple[IPAddress, ...]]) -> None:
        try:
            found = tuple(ipaddress.ip_address(text.split("%", 1)[0]) for text in self._lookup(name))
            if not found:
                raise socket.gaierror(socket.EAI_NONAME, "no address")
        except Exception as error:  # noqa: BLE001 - handed to whoever waits
            self._done(name)
            future.set_exception(error)
        else:
            self._remember(name, found)
            self._done(name)
            future.set_result(found)

    def _remember(self, name: str, found: tuple[IPAddress, ...]) -> None:
        with self._lock:
            if len(self._cache) >= 4096:
                self._cache.pop(next(iter(self._cache)))
            self._cache[name] = _Entry(found, self._clock())

    def _done(self, name: str) -> None:
        with self._lock:
            self._running.pop(name, None)


async def _result(source: concurrent.futures.Future[tuple[IPAddress, ...]]) -> tuple[IPAddress, ...]:
    """Wait without owning: cancelling the wait, or closing the loop, leaves the look-up to its other waiters."""
    loop = asyncio.get_running_loop()
    done = asyncio.Event()

    def wake(_: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
            loop.call_soon_threadsafe(done.set)

    source.add_done_callback(wake)
    await done.wait()
    return source.result()


def _address(address: IPAddress, port: int) -> Address:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    return Address(str(address), port, family)


def _dns_failure(name: str, error: OSError | UnicodeError) -> UpstreamUnreachable:
    number = error.errno if isinstance(error, OSError) else None
    if number in (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", -5)):
        message = f"The name '{name}' does not exist. Check its spelling, or that this machine's DNS knows it."
    elif number == socket.EAI_AGAIN:
        message = f"The name '{name}' cannot be looked up now: the name server is not reachable."
    else:
        message = f"The name '{name}' cannot be looked up: {error}."
    return UpstreamUnreachable(message, details={"problem": "dns", "host": name})


@functools.cache
def default_resolver() -> Resolver:
    """The resolver that this process shares."""
    return Resolver()


async def resolve(host: str, port: int, policy: NetworkPolicy, *, trusted: bool = False) -> tuple[Address, ...]:
    """`Resolver.resolve` of the shared resolver."""
    return await default_resolver().resolve(host, port, policy, trusted=trusted)
