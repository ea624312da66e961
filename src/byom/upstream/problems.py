"""What can be wrong with a connection, as data: a code, what happened, and what to do."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator
from typing import Any, Literal

import httpx2
import msgspec

from byom.errors import DestinationDenied, UpstreamUnreachable
from byom.upstream.url import Endpoint

Code = Literal[
    "invalid_url",
    "invalid_key",
    "itself",
    "denied",
    "dns",
    "refused",
    "timeout",
    "tls",
    "unreachable",
    "redirect",
    "unauthorized",
    "not_found",
    "not_openai",
    "unknown_model",
    "rate_limited",
    "server_error",
    "models_not_listed",
    "key_not_tested",
]
TlsReason = Literal[
    "expired", "not_yet_valid", "self_signed", "unknown_issuer", "hostname", "not_tls", "tls_required", "handshake"
]

_VERIFY: dict[int, TlsReason] = {
    9: "not_yet_valid",
    10: "expired",
    18: "self_signed",
    19: "self_signed",
    20: "unknown_issuer",
    21: "unknown_issuer",
    62: "hostname",
    64: "hostname",
}
_TLS_TEXT: dict[TlsReason, tuple[str, str]] = {
    "expired": (
        "The certificate of {host} has expired",
        "Renew the server's certificate, and check this machine's clock.",
    ),
    "not_yet_valid": ("The certificate of {host} is not valid yet", "Check the clock of both machines."),
    "self_signed": (
        "The certificate of {host} is self-signed",
        "Give the connection the certificate (or its CA) as a CA file.",
    ),
    "unknown_issuer": (
        "The certificate of {host} comes from an authority that this machine does not know",
        "Give the connection that authority's certificate as a CA file, or let the server send its whole chain.",
    ),
    "hostname": (
        "The certificate of {host} is for another name",
        "Use the name that the certificate was made for.",
    ),
    "not_tls": (
        "{host} answers plain HTTP on port {port}, not HTTPS",
        "Write http:// instead of https://, or use the port that speaks TLS.",
    ),
    "tls_required": (
        "{host} speaks HTTPS on port {port}, not plain HTTP",
        "Write https:// instead of http://.",
    ),
    "handshake": ("The TLS handshake with {host} failed", "Check that the server allows TLS 1.2 or newer."),
}


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong. ``warning``: the connection can be used nevertheless."""

    code: Code
    message: str
    hint: str
    url: str = ""
    level: Literal["error", "warning"] = "error"
    details: dict[str, Any] = {}

    def __str__(self) -> str:
        return f"{self.message}. {self.hint}"


def tls_problem(reason: TlsReason, endpoint: Endpoint, url: str, said: str = "") -> Problem:
    message, hint = _TLS_TEXT[reason]
    message = message.format(host=endpoint.host, port=endpoint.port)
    details = {"reason": reason} | ({"said": said} if said else {})
    return Problem(code="tls", message=message, hint=hint, url=url, details=details)


def denied(error: DestinationDenied, url: str) -> Problem:
    message, _, hint = error.message.partition(". ")
    hint = hint or "Use another address for this model."
    return Problem(code="denied", message=message.rstrip("."), hint=hint, url=url, details=error.details)


def of_failure(error: Exception, endpoint: Endpoint, url: str, *, timeout: float) -> Problem:
    """The problem behind an exception that was raised instead of an answer."""
    if isinstance(error, DestinationDenied):
        return denied(error, url)
    if isinstance(error, UpstreamUnreachable):
        message, _, hint = error.message.partition(". ")
        return Problem(code="dns", message=message.rstrip("."), hint=hint or "Check this machine's DNS.", url=url)
    for cause in _chain(error):
        found = _of_cause(cause, endpoint, url)
        if found is not None:
            return found
    place = f"{endpoint.host}:{endpoint.port}"
    if isinstance(error, httpx2.TimeoutException | TimeoutError):
        return Problem(
            code="timeout",
            message=f"{place} did not answer within {timeout:g} s",
            hint="Check that the server has started and that no firewall is in between.",
            url=url,
        )
    return Problem(
        code="unreachable",
        message=f"The connection to {place} broke: {str(error) or type(error).__name__}",
        hint="Check that a web server listens there, and the scheme (http or https).",
        url=url,
    )


def _of_cause(cause: BaseException, endpoint: Endpoint, url: str) -> Problem | None:
    if isinstance(cause, ssl.SSLCertVerificationError):
        reason = _VERIFY.get(cause.verify_code)
        if reason is None:
            # An operating system's own verifier gives text only.
            reason = "hostname" if "match" in cause.verify_message.lower() else "unknown_issuer"
        return tls_problem(reason, endpoint, url, cause.verify_message)
    if isinstance(cause, ssl.SSLError):
        said = f"{cause.reason or cause}"
        plain = any(word in said.upper() for word in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER", "PACKET"))
        return tls_problem("not_tls" if plain else "handshake", endpoint, url, said)
    if isinstance(cause, ConnectionRefusedError):
        return Problem(
            code="refused",
            message=f"Nothing listens on {endpoint.host} port {endpoint.port}",
            hint="Start the model's server, or correct the port. In a container, 'localhost' is the container itself.",
            url=url,
        )
    if isinstance(cause, socket.gaierror):
        return Problem(code="dns", message=f"The name '{endpoint.host}' cannot be looked up", hint="Check it.", url=url)
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The exception, what caused it, and the members of groups; the innermost causes included."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop(0)
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        if isinstance(one, BaseExceptionGroup):
            waiting.extend(one.exceptions)
        waiting.extend((one.__cause__, one.__context__))


async def speaks_tls(ip: str, port: int, *, timeout: float) -> bool:
    """Whether a TLS handshake succeeds there. Nothing is sent beyond it; the certificate is not looked at."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        async with asyncio.timeout(timeout):
            _, writer = await asyncio.open_connection(ip, port, ssl=context)
    except (OSError, TimeoutError):
        return False
    await _closed(writer)
    return True


async def speaks_http(ip: str, port: int, *, timeout: float) -> bool:
    """Whether plain HTTP is answered there. The request has no content and no key."""
    try:
        async with asyncio.timeout(timeout):
            reader, writer = await asyncio.open_connection(ip, port)
            try:
                writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                return await reader.readexactly(5) == b"HTTP/"
            finally:
                await _closed(writer)
    except (OSError, TimeoutError, asyncio.IncompleteReadError):
        return False


async def _closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):  # the other side may have hung up in its own way
        await writer.wait_closed()
