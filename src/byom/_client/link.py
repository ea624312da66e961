"""The HTTP connection to a hub, wherever it is."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping
from typing import Any, Literal

import httpx2
import msgspec

from byom import __version__
from byom._client.failures import error_of, raise_unreachable
from byom._client.place import Place
from byom.errors import BadRequest, Unavailable

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
_CONNECTIONS = 1000
_CONNECT_SECONDS = 10.0
_TRIES = 4
_SOON_SECONDS = 2.0


class Link:
    """Opened with the first request. Belongs to the event loop on which that is made."""

    def __init__(self, place: Place, *, timeout: float) -> None:
        """``timeout``: seconds that an answer, or the next piece of one, may take; 0 switches it off."""
        self.place = place
        self._timeout = timeout
        self._http: httpx2.AsyncClient | None = None
        self._opening = asyncio.Lock()
        self._closed = False

    async def request(
        self,
        method: Method,
        path: str,
        body: Any = None,
        *,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx2.Response:
        """The whole answer. Raises the error of `byom.errors` that the hub answered with."""
        async with self.stream(method, path, body, params=params, headers=headers) as response:
            await response.aread()
            return response

    async def json(
        self, method: Method, path: str, body: Any = None, *, params: Mapping[str, Any] | None = None
    ) -> Any:
        """The decoded answer; ``None`` for an empty one."""
        response = await self.request(method, path, body, params=params)
        if not response.content:
            return None
        try:
            return msgspec.json.decode(response.content)
        except msgspec.DecodeError as error:
            raise error_of(502, {}, response.content, self.place) from error

    @contextlib.asynccontextmanager
    async def stream(
        self,
        method: Method,
        path: str,
        body: Any = None,
        *,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> AsyncGenerator[httpx2.Response, None]:
        """The answer with a good status, its body still to be read. Leaving closes it, which stops the call."""
        http = await self._open()
        content, sent = self._content(body, dict(headers or {}))
        given = {name: value for name, value in (params or {}).items() if value is not None}
        try:
            request = http.build_request(method, path, content=content, headers=sent, params=given or None)
            response = await self._answered(http, request)
            try:
                yield response
            finally:
                await response.aclose()
        except httpx2.HTTPError as error:
            raise_unreachable(error, self.place)

    async def _answered(self, http: httpx2.AsyncClient, request: httpx2.Request) -> httpx2.Response:
        """The head of a good answer. A hub that says it cannot serve just now has done nothing: it is asked again."""
        tries = _TRIES
        while True:
            response = await http.send(request, stream=True)
            if 200 <= response.status_code < 300:
                return response
            error = error_of(response.status_code, response.headers, await response.aread(), self.place)
            tries -= 1
            soon = error.retry_after is not None and error.retry_after <= _SOON_SECONDS
            if not (tries and soon and isinstance(error, Unavailable)):
                raise error
            await asyncio.sleep(error.retry_after or 0.0)

    @staticmethod
    def _content(body: Any, headers: dict[str, str]) -> tuple[bytes | None, dict[str, str]]:
        if body is None:
            return None, headers
        if isinstance(body, bytes):
            return body, headers
        try:
            return msgspec.json.encode(body), {"content-type": "application/json"} | headers
        except (TypeError, ValueError, OverflowError) as error:
            raise BadRequest(f"This cannot be sent as JSON: {error}") from error

    async def _open(self) -> httpx2.AsyncClient:
        async with self._opening:
            if self._closed:
                raise Unavailable("This client is closed.")
            if self._http is None:
                self._http = await self._connected()
            return self._http

    async def _connected(self) -> httpx2.AsyncClient:
        place, transport = self.place, None
        key = place.key
        if place.in_process:
            from byom._client import embedded
            from byom.server.in_process import StreamingASGITransport

            joined = await embedded.join(place.home)
            transport, key = StreamingASGITransport(joined.hub.app), key or joined.admin_key
        headers = {"user-agent": f"byom/{__version__}"}
        if key:
            headers["authorization"] = f"Bearer {key}"
        return httpx2.AsyncClient(
            base_url=place.url,
            headers=headers,
            transport=transport,
            # Reading the certificates of the system takes 30 ms that plain HTTP need not spend.
            verify=place.verify_tls and place.url.startswith("https:"),
            # A proxy of the environment is for other machines: a hub on this one is reached directly.
            trust_env=not place.loopback,
            follow_redirects=False,
            timeout=httpx2.Timeout(self._timeout or None, connect=_CONNECT_SECONDS),
            limits=httpx2.Limits(max_connections=_CONNECTIONS, max_keepalive_connections=100),
        )

    async def aclose(self) -> None:
        """Idempotent."""
        async with self._opening:
            self._closed = True
            http, self._http = self._http, None
            if http is None:
                return
            await http.aclose()
            if self.place.in_process:
                from byom._client import embedded

                await embedded.leave(self.place.home)
