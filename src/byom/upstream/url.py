"""Endpoint URLs as people paste them."""

from __future__ import annotations

import ipaddress
import re
from typing import Literal
from urllib.parse import quote, unquote

import msgspec

from byom.errors import BadRequest

Scheme = Literal["http", "https"]

# Longest first: ``/v1/chat/completions`` must not be taken for ``/v1/chat`` plus the route ``completions``.
_ROUTES = (
    "/chat/completions",
    "/audio/transcriptions",
    "/audio/speech",
    "/images/generations",
    "/completions",
    "/embeddings",
    "/responses",
    "/moderations",
    "/rerank",
    "/models",
    "/chat",
)
_OLLAMA_ROUTES = ("/api/chat", "/api/generate", "/api/tags", "/api/embed", "/api/embeddings")
_VERSION_SEGMENT = re.compile(r"/v\d+[a-z0-9]*$")
_PASTED_AROUND = " \t\r\n\"'`<>\u200b\u200c\u200d\u2060\ufeff\u00a0\u201c\u201d\u2018\u2019"
_FORBIDDEN_IN_HOST = re.compile(r"[\s/\\?#@%\[\]<>^|{}\"'`]")
_FORBIDDEN_IN_PATH = re.compile(r"[\s\\\x00-\x1f\x7f]")


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """Where an OpenAI-compatible server is. ``base_path`` has no trailing slash and no route."""

    scheme: Scheme
    host: str
    """Lower case, without brackets, international names in ASCII (``xn--…``)."""
    port: int
    base_path: str
    scheme_guessed: bool = False
    """The text had no scheme; `schemes` says what else may be tried."""
    route_given: bool = False
    """The text ended in a route such as ``/chat/completions``, so ``base_path`` is certain."""

    @property
    def authority(self) -> str:
        """``host``, ``host:port`` or ``[v6]:port``, as the ``Host`` header has it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        default = 443 if self.scheme == "https" else 80
        return host if self.port == default else f"{host}:{self.port}"

    def url(self, base_path: str | None = None) -> str:
        return f"{self.scheme}://{self.authority}{self.base_path if base_path is None else base_path}"

    def candidates(self) -> tuple[str, ...]:
        """Base paths to try, in order. A path that ends in a version never gets a second one."""
        path = self.base_path
        if not path:
            return ("", "/v1") if self.route_given else ("/v1", "")
        if _VERSION_SEGMENT.search(path):
            return (path,) if self.route_given else (path, _VERSION_SEGMENT.sub("", path))
        return path, f"{path}/v1"

    def with_scheme(self, scheme: Scheme) -> Endpoint:
        """The same place by the other scheme; a default port follows the scheme."""
        defaults = {"http": 80, "https": 443}
        port = defaults[scheme] if self.port == defaults[self.scheme] else self.port
        return msgspec.structs.replace(self, scheme=scheme, port=port)


def parse_endpoint(text: str) -> Endpoint:
    """Read an endpoint URL. Raises `BadRequest` that says what to write instead.

    Without a scheme, ``http`` is taken for this machine, for addresses, for names without a dot and for a given
    port other than 443; ``https`` for everything else.
    """
    cleaned = text.strip(_PASTED_AROUND)
    if not cleaned:
        raise _wrong("The endpoint URL is empty", "Write it like http://localhost:8000/v1.")
    scheme, rest = _split_scheme(cleaned)
    rest = rest.split("#", 1)[0]  # a fragment is never sent to a server
    rest, _, query = rest.partition("?")
    authority, slash, path = rest.partition("/")
    if "@" in authority:
        raise _wrong(
            "The endpoint URL contains a user name or password",
            "Remove the part before '@' and give the key separately (--key, --key-env or --key-stdin).",
        )
    if query:
        raise _query_error(query)
    host, port = _split_authority(authority)
    guessed = scheme is None
    if scheme is None:
        scheme = "http" if _looks_local(host, port) else "https"
    base_path, route_given = _strip_route(_clean_path(slash + path))
    return Endpoint(
        scheme=scheme,
        host=host,
        port=port if port is not None else (443 if scheme == "https" else 80),
        base_path=base_path,
        scheme_guessed=guessed,
        route_given=route_given,
    )


def _wrong(what: str, do: str) -> BadRequest:
    return BadRequest(f"{what}. {do}", code="invalid_url", param="url")


def _split_scheme(text: str) -> tuple[Scheme | None, str]:
    match = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", text)
    if match is None:
        if re.match(r"(?i)https?:", text):
            raise _wrong(f"'{_shown(text)}' lacks the slashes of its scheme", "Write http:// or https:// in front.")
        return None, text.lstrip("/")
    scheme = match[1].lower()
    rest = text[match.end() :]
    if scheme == "http":
        return "http", rest
    if scheme == "https":
        return "https", rest
    raise _wrong(f"The scheme '{scheme}' is not supported", "An endpoint is reached by http:// or https://.")


def _shown(text: str) -> str:
    """The text without anything that may be a secret."""
    return text.rsplit("@", 1)[-1].split("?", 1)[0][:80]


def _query_error(query: str) -> BadRequest:
    names = [unquote(part.split("=", 1)[0]) for part in query.split("&") if part]
    if "api-version" in names:
        return _wrong(
            "Azure's '?api-version=' URLs are not supported",
            "Use the version-free form of the same resource: https://NAME.openai.azure.com/openai/v1.",
        )
    return _wrong(
        f"The endpoint URL has a query ({', '.join(names)[:60]})",
        "Remove the part after '?'; a key is given separately (--key, --key-env or --key-stdin).",
    )


def _split_authority(authority: str) -> tuple[str, int | None]:
    if authority.startswith("["):
        inside, bracket, after = authority[1:].partition("]")
        if not bracket or (after and not after.startswith(":")):
            raise _wrong(f"'{authority}' is not a host", "An IPv6 address is written like [::1]:8000.")
        return _ipv6(inside), _port(after[1:]) if after else None
    if authority.count(":") > 1:
        return _ipv6(authority), None
    host, colon, port = authority.partition(":")
    if not host or (host.isascii() and host.isdigit() and not port):
        _refuse_bare_port(port or host)
    return _name(host), _port(port) if colon and port else None


def _refuse_bare_port(text: str) -> None:
    """``8000`` or ``:8000``: somebody thinks of this machine. Passes where it is not a port."""
    if text.isascii() and text.isdigit() and 1 <= int(text[:6]) <= 65535:
        raise _wrong(f"'{text}' is a port without a host", f"Did you mean http://localhost:{int(text)}?")


def _ipv6(text: str) -> str:
    if "%" in text:
        raise _wrong(f"The address [{text}] has a zone", "Link-local addresses are not supported; use another one.")
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        raise _wrong(f"'{text}' is not an IPv6 address", "An IPv6 address is written like [::1]:8000.") from None
    return "::1" if address == ipaddress.IPv6Address("::") else str(address)


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:6]) <= 65535:
        raise _wrong(f"'{text[:20]}' is not a port", "A port is a number from 1 to 65535, as in http://localhost:8000.")
    return int(text)


def _name(host: str) -> str:
    host = host.rstrip(".")
    if not host.isascii():
        import idna

        try:
            host = idna.encode(host, uts46=True).decode("ascii")
        except idna.IDNAError as error:
            raise _wrong(f"'{host}' is not a valid host name ({error})", "Check its spelling.") from None
    if not host or len(host) > 253 or _FORBIDDEN_IN_HOST.search(host) or ".." in host:
        raise _wrong(f"'{_shown(host)}' is not a host name", "Write the URL like http://localhost:8000/v1.")
    host = host.lower()
    # Servers print "listening on 0.0.0.0", and people paste that; as a destination it means this machine.
    return "127.0.0.1" if host == "0.0.0.0" else host  # noqa: S104 - compared, not bound


def _looks_local(host: str, port: int | None) -> bool:
    if port is not None:
        return port != 443
    if ":" in host or re.fullmatch(r"[0-9.]+", host):
        return True
    return "." not in host or host.endswith((".localhost", ".local", ".internal", ".lan", ".home.arpa"))


def _clean_path(path: str) -> str:
    if _FORBIDDEN_IN_PATH.search(path):
        raise _wrong("The path of the endpoint URL contains spaces or control characters", "Remove them.")
    segments = [segment for segment in path.split("/") if segment]
    if any(unquote(segment) in {".", ".."} for segment in segments):
        raise _wrong("The path of the endpoint URL contains '.' or '..'", "Write the whole path.")
    return "".join("/" + _quoted(segment) for segment in segments)


def _quoted(segment: str) -> str:
    return quote(segment, safe="!$&'()*+,;=:@-._~%")


def _strip_route(path: str) -> tuple[str, bool]:
    lowered = path.lower()
    for route in _OLLAMA_ROUTES:
        if lowered.endswith(route):
            return path[: -len(route)] + "/v1", False
    for route in _ROUTES:
        if lowered.endswith(route):
            return path[: -len(route)], True
    models = re.search(r"/v\d+[a-z0-9]*(/models/.+)$", path)  # one model's own page: /v1/models/NAME
    if models:
        return path[: models.start(1)], True
    return path, False
