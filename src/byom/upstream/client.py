"""An HTTP client that connects only to checked addresses."""

from __future__ import annotations

import asyncio
import ssl
import urllib.request
from collections.abc import AsyncIterator, Iterable
from typing import Any

import httpcore2
import httpx2

from byom.errors import DestinationDenied
from byom.types.target import NetworkPolicy, Target, Timeouts
from byom.upstream.network import Resolver, default_resolver

_KEEPALIVE_SECONDS = 4.0  # below the 5 s after which common servers close an idle connection


class _Stream(httpcore2.AsyncNetworkStream):
    """A connection that is closed when its TLS handshake is cut off by a time-out, which httpcore leaves open."""

    def __init__(self, inner: httpcore2.AsyncNetworkStream) -> None:
        self._inner = inner

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return await self._inner.read(max_bytes, timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        await self._inner.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.AsyncNetworkStream:
        try:
            return await self._inner.start_tls(ssl_context, server_hostname, timeout)
        except BaseException:
            await self._inner.aclose()
            raise

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class PinnedBackend(httpcore2.AsyncNetworkBackend):
    """Opens TCP connections to checked addresses. The names in ``Host`` and SNI stay those of the URL."""

    def __init__(self, policy: NetworkPolicy, resolver: Resolver, *, trusted: bool = False) -> None:
        self._policy = policy
        self._resolver = resolver
        self._trusted = trusted
        self._inner = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Try the addresses one after the other, each with its share of the time. Raises the last one's error."""
        loop = asyncio.get_running_loop()
        deadline = None if timeout is None else loop.time() + timeout
        addresses = await self._resolver.resolve(host, port, self._policy, trusted=self._trusted)
        failure: Exception | None = None
        for position, address in enumerate(addresses):
            share = None
            if deadline is not None:
                share = max(deadline - loop.time(), 0.0) / (len(addresses) - position)
            try:
                return _Stream(await self._inner.connect_tcp(address.ip, port, share, local_address, socket_options))
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
        self._resolver.forget(host)
        raise failure or httpcore2.ConnectError(f"no address for {host}")

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class _Body(httpx2.AsyncByteStream):
    def __init__(self, response: httpcore2.Response) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for part in self._response.aiter_stream():
                yield part
        except _CORE_ERRORS as error:
            raise _translated(error) from error

    async def aclose(self) -> None:
        await self._response.aclose()


class PinnedTransport(httpx2.AsyncBaseTransport):
    """httpx2's HTTP/1.1 transport over `PinnedBackend`."""

    def __init__(
        self, target: Target, backend: PinnedBackend, context: ssl.SSLContext, *, max_connections: int = 100
    ) -> None:
        self._origin = (target.scheme, target.host, target.port)
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=context,
            max_connections=max_connections,
            keepalive_expiry=_KEEPALIVE_SECONDS,
            network_backend=backend,
        )

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if not isinstance(request.stream, httpx2.AsyncByteStream):
            raise TypeError("an asynchronous client needs an asynchronous body")
        self._check_origin(request.url)
        core = httpcore2.Request(
            method=request.method,
            url=httpcore2.URL(
                scheme=request.url.raw_scheme,
                host=request.url.raw_host,
                port=request.url.port,
                target=request.url.raw_path,
            ),
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )
        try:
            response = await self._pool.handle_async_request(core)
        except _CORE_ERRORS as error:
            raise _translated(error) from error
        return httpx2.Response(
            response.status, headers=response.headers, stream=_Body(response), extensions=response.extensions
        )

    def _check_origin(self, url: httpx2.URL) -> None:
        """The key of a connection goes to the host it was saved for, and nowhere else."""
        port = url.port or (443 if url.scheme == "https" else 80)
        if (url.scheme, url.raw_host.decode("ascii").strip("[]"), port) != self._origin:
            scheme, host, own = self._origin
            raise DestinationDenied(
                f"This client is for {scheme}://{host}:{own} alone, not for {url.scheme}://{url.host}:{port}."
            )

    async def aclose(self) -> None:
        await self._pool.aclose()


_CORE_ERRORS = (
    httpcore2.TimeoutException,
    httpcore2.NetworkError,
    httpcore2.ProtocolError,
    httpcore2.ProxyError,
    httpcore2.UnsupportedProtocol,
)


def _translated(error: Exception) -> httpx2.HTTPError:
    """httpx2's error of the same name."""
    kind: type[httpx2.HTTPError] = getattr(httpx2, type(error).__name__, httpx2.TransportError)
    return kind(str(error))


class _CheckedProxyTransport(httpx2.AsyncBaseTransport):
    """Through a proxy, which resolves names itself: the policy is applied to what this machine resolves."""

    def __init__(self, inner: httpx2.AsyncHTTPTransport, policy: NetworkPolicy, resolver: Resolver) -> None:
        self._inner = inner
        self._policy = policy
        self._resolver = resolver

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        port = request.url.port or (443 if request.url.scheme == "https" else 80)
        await self._resolver.resolve(request.url.host, port, self._policy)
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self._inner.aclose()


def tls_context(*, verify: bool = True, ca_file: str | None = None) -> ssl.SSLContext:
    """Verification by the system's roots, or by those of ``ca_file`` alone. Never reads the environment."""
    if verify and ca_file is not None:
        return ssl.create_default_context(cafile=ca_file)
    return httpx2.create_ssl_context(verify=verify, trust_env=False)


def transport_for(
    target: Target, policy: NetworkPolicy, *, resolver: Resolver | None = None, use_env_proxy: bool = False
) -> httpx2.AsyncBaseTransport:
    """The transport of `client_for`."""
    resolver = resolver or default_resolver()
    if target.scheme == "https":
        context = tls_context(verify=target.verify_tls, ca_file=target.ca_file)
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # never used; loading the system's roots takes 20 ms
    proxy = _env_proxy(target) if use_env_proxy and not target.trusted else None
    if proxy is not None:
        return _CheckedProxyTransport(
            httpx2.AsyncHTTPTransport(verify=context, proxy=proxy, trust_env=False), policy, resolver
        )
    return PinnedTransport(target, PinnedBackend(policy, resolver, trusted=target.trusted), context)


def _env_proxy(target: Target) -> str | None:
    if urllib.request.proxy_bypass(target.host):
        return None
    proxies = urllib.request.getproxies()
    return proxies.get(target.scheme) or proxies.get("all")


def base_url(target: Target) -> str:
    host = f"[{target.host}]" if ":" in target.host else target.host
    return f"{target.scheme}://{host}:{target.port}{target.base_path}"


def client_for(
    target: Target,
    policy: NetworkPolicy,
    *,
    timeouts: Timeouts = Timeouts(),  # noqa: B008 - frozen
    resolver: Resolver | None = None,
    use_env_proxy: bool = False,
) -> httpx2.AsyncClient:
    """A client for one target: pinned addresses, no redirects, TLS verified as the target says.

    Nothing is read from the environment, but for the proxy variables when ``use_env_proxy`` is set. Errors of the
    policy (`DestinationDenied`) and of name resolution (`UpstreamUnreachable`) come out of each request as they are.
    Reading has no time-out here: the time to the first byte and between two pieces are the caller's to bound.
    """
    headers = list(target.headers)
    if target.authorization is not None:
        headers.append(("Authorization", target.authorization))
    return httpx2.AsyncClient(
        transport=transport_for(target, policy, resolver=resolver, use_env_proxy=use_env_proxy),
        base_url=base_url(target),
        headers=headers,
        timeout=httpx2.Timeout(None, connect=timeouts.connect or None, pool=timeouts.connect or None),
        follow_redirects=False,
        trust_env=False,
    )
