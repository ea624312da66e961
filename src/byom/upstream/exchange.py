"""One bounded request of the connection check or the probe: always an `Answer` or a `Problem`, never a hang."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httpx2
import msgspec

from byom.errors import ByomError
from byom.types.target import NetworkPolicy, Target
from byom.upstream.network import Resolver
from byom.upstream.problems import Problem, of_failure, speaks_http, speaks_tls, tls_problem
from byom.upstream.url import Endpoint

MAX_BYTES = 16 * 1024 * 1024
_TLS_HINTS = (
    b"http request to an https server",
    b"plain http request was sent to https",
    b"speaking plain http to an ssl",
)


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    status: int
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes
    milliseconds: float
    url: str


async def exchange(
    client: httpx2.AsyncClient,
    endpoint: Endpoint,
    resolver: Resolver,
    method: str,
    path: str,
    *,
    timeout: float,
    json: Any = None,
    authorized: bool = True,
) -> Answer | Problem:
    """Send one request to ``path`` (from the root). ``authorized=False`` leaves the key out. Seconds."""
    url = endpoint.url(path)
    request = client.build_request(method, url, content=None if json is None else msgspec.json.encode(json))
    request.headers["accept"] = "application/json"
    if json is not None:
        request.headers["content-type"] = "application/json"
    if not authorized:
        request.headers.pop("authorization", None)
    began = time.perf_counter()
    try:
        async with asyncio.timeout(timeout):
            response = await client.send(request, stream=True)
            try:
                body = await _read(response)
            finally:
                await response.aclose()
    except (httpx2.HTTPError, ByomError, OSError, TimeoutError) as error:
        return await _explained(error, endpoint, resolver, url, timeout)
    milliseconds = (time.perf_counter() - began) * 1000
    headers = {name.lower(): value for name, value in response.headers.items()}
    if response.status_code == 400 and any(hint in body[:2000].lower() for hint in _TLS_HINTS):
        return tls_problem("tls_required", endpoint, url)
    return Answer(status=response.status_code, headers=headers, body=body, milliseconds=milliseconds, url=url)


async def _read(response: httpx2.Response) -> bytes:
    parts = []
    size = 0
    async for part in response.aiter_bytes():
        parts.append(part)
        size += len(part)
        if size > MAX_BYTES:
            break
    return b"".join(parts)


async def _explained(error: Exception, endpoint: Endpoint, resolver: Resolver, url: str, timeout: float) -> Problem:
    problem = of_failure(error, endpoint, url, timeout=timeout)
    unclear = problem.code in ("unreachable", "timeout") or problem.details.get("reason") == "handshake"
    if not unclear or (isinstance(error, httpx2.ConnectError) and problem.code == "unreachable"):
        return problem
    # A server of the other scheme often just hangs up or waits. Its addresses passed the policy a moment ago.
    addresses = resolver.cached(endpoint.host, endpoint.port, NetworkPolicy())
    if not addresses:
        return problem
    soon = min(timeout, 3.0)
    if endpoint.scheme == "http" and await speaks_tls(addresses[0].ip, endpoint.port, timeout=soon):
        return tls_problem("tls_required", endpoint, url)
    if endpoint.scheme == "https" and await speaks_http(addresses[0].ip, endpoint.port, timeout=soon):
        return tls_problem("not_tls", endpoint, url)
    return problem


def target_of(
    endpoint: Endpoint,
    key: str | None,
    *,
    headers: tuple[tuple[str, str], ...] = (),
    verify_tls: bool = True,
    ca_file: str | None = None,
    base_path: str = "",
) -> Target:
    return Target(
        scheme=endpoint.scheme,
        host=endpoint.host,
        port=endpoint.port,
        base_path=base_path,
        authorization=f"Bearer {key}" if key else None,
        headers=headers,
        verify_tls=verify_tls,
        ca_file=ca_file,
    )
