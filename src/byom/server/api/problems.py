"""Every failure becomes OpenAI's error form: ``{"error": {"message", "type", "param", "code"}}``.

What a caller sent never stands in a message: it may be a key in the wrong field.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import DataError, InterfaceError, OperationalError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from byom.errors import (
    BadRequest,
    ByomError,
    Conflict,
    MethodNotAllowed,
    NotFound,
    Unavailable,
    UnprocessableRequest,
)

MOST_FIELDS = 20
"""Wrong fields that one answer names."""


def error_response(error: ByomError) -> JSONResponse:
    headers: dict[str, str] = {}
    if error.retry_after is not None:
        headers["retry-after"] = str(math.ceil(error.retry_after))
    if error.status == 401:
        headers["www-authenticate"] = "Bearer"
    return JSONResponse(error.body(), error.status, headers)


def of_exception(error: Exception) -> ByomError | None:
    """The error that a caller is told of; ``None`` for a fault of the hub."""
    if isinstance(error, ByomError):
        # The catalog says "bad request" where a stored key would have to follow a connection to another host.
        return conflict(error) if error.code == "reenter_key" else error
    if isinstance(error, RequestValidationError):
        return of_validation(error.errors())
    if isinstance(error, HTTPException):
        return _of_http(error)
    if isinstance(error, DataError | OverflowError):
        return BadRequest("A value is larger than the database takes, or has characters that it does not take.")
    if isinstance(error, OperationalError | InterfaceError | ConnectionError):
        return Unavailable("The database does not answer now. Try again.", code="database_unavailable", retry_after=1.0)
    return None


def conflict(error: ByomError) -> Conflict:
    return Conflict(error.message, code=error.code, param=error.param, details=error.details)


def of_validation(errors: Sequence[Any]) -> ByomError:
    """From pydantic's list of what is wrong; the first field is ``param``."""
    named = [(field_of(one.get("loc", ())), one) for one in errors[:MOST_FIELDS]]
    if not named:
        return UnprocessableRequest("The request is not valid.")
    field, first = named[0]
    if first.get("type") == "json_invalid":
        return BadRequest("The body is not valid JSON.", code="invalid_json")
    text = _text(first)
    message = f"{field}: {text}" if field else text
    if len(named) > 1:
        message += f" (and {len(named) - 1} more)"
    details = {"fields": [{"field": name, "message": _text(one)} for name, one in named]}
    return UnprocessableRequest(message, param=field or None, details=details)


def _text(one: Any) -> str:
    if one.get("type") == "extra_forbidden":
        return "there is no such field"
    if one.get("type") == "missing":
        return "it is required"
    return str(one.get("msg", "it is not valid")).removeprefix("Value error, ")


def field_of(location: Sequence[str | int]) -> str:
    """``limits.windows[0].amount`` of ``("body", "limits", "windows", 0, "amount")``."""
    name = ""
    for part in location[1:] if location and location[0] in ("body", "query", "path", "header") else location:
        name += f"[{part}]" if isinstance(part, int) else f".{part}" if name else part
    return name[:200]


def _of_http(error: HTTPException) -> ByomError:
    if error.status_code == 404:
        return NotFound("There is nothing at this path. /api/docs lists what there is.", code="route_not_found")
    if error.status_code == 405:
        return MethodNotAllowed("This path does not take this method.")
    if error.status_code < 500:
        return BadRequest(str(error.detail))
    return ByomError(str(error.detail))
