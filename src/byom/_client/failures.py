"""From an HTTP answer of a hub to the error that it tells of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

import httpx2
import msgspec

from byom import errors
from byom._client.place import Place
from byom.errors import ByomError, Unavailable

_HINT = "Start a hub with: byom serve. Or, if BYOM_URL is set, correct it (and BYOM_API_KEY), or unset it."


class HubUnreachable(Unavailable):
    """No hub answers at the URL."""

    code = "hub_unreachable"


def _tree(root: type[ByomError]) -> Iterator[type[ByomError]]:
    yield root
    for kind in root.__subclasses__():
        yield from _tree(kind)


_KINDS = [kind for kind in _tree(ByomError) if kind.__module__ == errors.__name__ and kind is not errors.MissingExtra]
_BY_CODE = {kind.code: kind for kind in _KINDS if kind is not ByomError}
# Where several have the same, the first of the tree is the general one.
_BY_STATUS = {kind.status: kind for kind in reversed(_KINDS)}
_BY_STATUS_AND_TYPE = {(kind.status, kind.type): kind for kind in reversed(_KINDS)}


def error_of(status: int, headers: Mapping[str, str], body: bytes, place: Place) -> ByomError:
    """The error of `byom.errors` that a hub answered with, carrying the hub's message."""
    fields = _error_fields(body)
    code = fields.get("code") if isinstance(fields.get("code"), str) else None
    kind = _BY_CODE.get(code or "") or _BY_STATUS_AND_TYPE.get((status, str(fields.get("type")))) or _general(status)
    message = str(fields.get("message") or _plain(status, body, place))
    if status == 401:
        message += _key_hint(place)
    details = fields.get("details")
    param = fields.get("param")
    return kind(
        message,
        code=code,
        param=param if isinstance(param, str) else None,
        retry_after=_retry_after(headers),
        details=details if isinstance(details, dict) else None,
    )


def _general(status: int) -> type[ByomError]:
    return _BY_STATUS.get(status) or (errors.UpstreamError if status > 500 else ByomError)


def raise_unreachable(error: httpx2.HTTPError, place: Place) -> NoReturn:
    """Raise `HubUnreachable`, or `UpstreamTimeout` where a hub was there but said nothing in time."""
    if isinstance(error, httpx2.ReadTimeout | httpx2.WriteTimeout):
        raise errors.UpstreamTimeout(f"The hub at {place.url} did not answer in time.") from error
    why = str(error) or type(error).__name__
    if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout):
        raise HubUnreachable(f"No hub answers at {place.url} ({why}). {_HINT}") from error
    raise HubUnreachable(f"The connection to the hub at {place.url} broke: {why}") from error


def _error_fields(body: bytes) -> dict[str, Any]:
    """The error object of a body, in OpenAI's form; empty where there is none."""
    try:
        decoded = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return {}
    if not isinstance(decoded, dict):
        return {}
    error = decoded.get("error")
    if isinstance(error, dict):
        return error
    found = error or decoded.get("detail") or decoded.get("message")
    return {"message": found} if isinstance(found, str) else {}


def _plain(status: int, body: bytes, place: Place) -> str:
    text = " ".join(body[:300].decode("utf-8", "replace").split())
    return f"{place.url} answered HTTP {status}" + (f": {text}" if text else "") + ". Is this a hub?"


def _key_hint(place: Place) -> str:
    if place.key:
        return ""
    return " Set BYOM_API_KEY to a key of this hub." if place.origin != "hub.json" else ""


def _retry_after(headers: Mapping[str, str]) -> float | None:
    for name, scale in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        try:
            return max(0.0, float(headers[name]) / scale)
        except (KeyError, ValueError):
            continue
    return None
