"""Reads the head of an HTTP/1.1 request with llhttp, and reduces it to what the gateway uses."""

from __future__ import annotations

import re

import httptools

from byom.errors import BadRequest
from byom.gateway.request import CallHead

MAX_HEAD = 64 * 1024
"""Bytes of request line and headers together."""

FORWARDED = (b"openai-beta", b"openai-organization", b"openai-project", b"anthropic-version", b"tracestate")
"""Request headers that reach the upstream as the caller sent them. All others stay here."""

_OF_ONE_CALL = (b"x-request-id", b"idempotency-key", b"traceparent")
"""Headers whose value is another one in each call, so that a head with one is not worth keeping."""

_SINGLE = frozenset(
    {
        b"api-key",
        b"authorization",
        b"content-encoding",
        b"content-type",
        b"expect",
        b"host",
        b"idempotency-key",
        b"origin",
        b"transfer-encoding",
        b"x-api-key",
        b"x-byom-connection",
    }
)
"""Headers that decide what is done: sent twice, somebody before us may have gone by the other one."""

_SAFE_ID = re.compile(rb"[\x21-\x7e]{1,128}\Z")


class RequestHead:
    """Receives llhttp's callbacks for one request: its first, whatever was sent behind it.

    A header that comes twice counts with its last value, or is named in ``twice`` where that could mislead.
    """

    __slots__ = ("complete", "headers", "keep_alive", "method", "parser", "parts", "twice", "url", "version")

    def __init__(self) -> None:
        self.url = b""
        self.headers: dict[bytes, bytes] = {}
        self.parts: list[bytes] = []
        self.complete = False
        self.parser = httptools.HttpRequestParser(self)
        self.method = ""
        """Empty until the head is complete. What comes after it - trailers, a request sent ahead - changes nothing."""
        self.version = ""
        self.twice = b""
        self.keep_alive = False

    def on_url(self, url: bytes) -> None:
        if not self.method:
            self.url = self.url + url if self.url else url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.method:
            return
        name = name.lower()
        if name in self.headers and name in _SINGLE:
            self.twice = name
        self.headers[name] = value

    def on_body(self, data: bytes) -> None:
        if not self.complete:
            self.parts.append(data)

    def on_message_complete(self) -> None:
        self.complete = True

    def on_headers_complete(self) -> None:
        if self.method:
            return
        self.version = self.parser.get_http_version()
        self.method = self.parser.get_method().decode("ascii")
        self.keep_alive = self.parser.should_keep_alive()

    def feed(self, data: bytes) -> None:
        """Raises `BadRequest` for what is not HTTP/1.1, or could be read in two ways (smuggling)."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            if self.headers.get(b"upgrade", b"").lower() == b"websocket":
                raise BadRequest("Upgrading the connection to WebSocket is not supported on this path.") from None
            # An offer (Java's clients offer HTTP/2): not taken up, and the request is answered as it stands.
            self.keep_alive = False
        except httptools.HttpParserError as error:
            if self.complete:
                return
            raise BadRequest(f"The request is not valid HTTP/1.1: {error}") from error

    def check(self) -> None:
        """Raises `BadRequest` where the head, valid for llhttp, could still be read in two ways."""
        if not self.method or self.version not in ("1.0", "1.1"):
            raise BadRequest("The request is not HTTP/1.1.")
        if self.twice:
            raise BadRequest(f"The header {self.twice.decode()!r} is there more than once.")
        if self.chunked and (self.version == "1.0" or self.headers[b"transfer-encoding"].lower() != b"chunked"):
            raise BadRequest("Only the transfer coding 'chunked' is supported, and only with HTTP/1.1.")

    @property
    def chunked(self) -> bool:
        return b"transfer-encoding" in self.headers

    @property
    def content_length(self) -> int:
        """Bytes of the body as announced, 0 where nothing is."""
        return int(self.headers.get(b"content-length", b"0"))

    @property
    def token(self) -> str | None:
        """The caller's key; ``None`` where none was sent, empty where the scheme is not ``Bearer``."""
        value = self.headers.get(b"authorization")
        if value is not None:
            return value[7:].strip().decode("latin-1") if value[:7].lower() == b"bearer " else ""
        value = self.headers.get(b"api-key") or self.headers.get(b"x-api-key")
        return None if value is None else value.strip().decode("latin-1")

    def text(self, name: bytes, limit: int = 512) -> str:
        value = self.headers.get(name)
        return "" if value is None else value[:limit].decode("latin-1")

    def call_head(self) -> CallHead:
        return call_head(self.method, self.url, self.headers, self.token)

    @property
    def repeats(self) -> bool:
        """Nothing in this head belongs to one call alone, so the next one is likely to be the same."""
        headers = self.headers
        return not any(name in headers for name in _OF_ONE_CALL)


def call_head(method: str, url: bytes, headers: dict[bytes, bytes], token: str | None) -> CallHead:
    """``url``: path and query below ``/v1/``, with it. ``headers``: names in small letters."""
    path, _, query = url.partition(b"?")
    head = CallHead(method, path[4:].decode("latin-1"), token=token)
    head.query = query

    def text(name: bytes, limit: int) -> str:
        value = headers.get(name)
        return "" if value is None else value[:limit].decode("latin-1")

    head.content_type = text(b"content-type", 512)
    head.accept = text(b"accept", 512)
    head.encoding = headers.get(b"content-encoding", b"")
    request_id = headers.get(b"x-request-id")
    if request_id is not None and _SAFE_ID.match(request_id):
        head.request_id = request_id.decode("ascii")
    head.idempotency_key = text(b"idempotency-key", 255)
    head.traceparent = text(b"traceparent", 128)
    head.connection = text(b"x-byom-connection", 256)
    head.forward = tuple(
        (name.decode("ascii"), headers[name].decode("latin-1")) for name in FORWARDED if name in headers
    )
    return head
