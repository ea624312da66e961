"""The OpenAPI document: FastAPI's, with the way to authenticate and without what it only guesses."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from byom.server.api.access import OPEN_TO_INFERENCE
from byom.server.api.schemas.fields import ErrorAnswer

DESCRIPTION = """\
What a hub knows and does: connections, models, users, keys, prices, settings, usage.

Send an admin key as `Authorization: Bearer sk-byom-…`; the hub's own is in `admin.key` in its home folder. A key of
role `inference` may only read its own part of `/api/me`, `/api/usage` and `/api/calls`, and enter its own user's
credentials at `/api/me/credentials`.

Lists come as `{"data": […]}`. Edits (PATCH) change what they name; `null` goes back to the default. Money is dollars as
decimal strings, and `null` where a price is not known. Times are seconds since the epoch (UTC). Failures have OpenAI's
form, `{"error": {"message", "type", "param", "code"}}`, and every answer has an `x-request-id`.
"""
FAILURES: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": ErrorAnswer, "description": "What is wrong with the request"},
    "5XX": {"model": ErrorAnswer, "description": "What failed"},
}


def document(app: FastAPI) -> dict[str, Any]:
    """Made once, with the first request for it."""
    if app.openapi_schema is None:
        schema = get_openapi(title=app.title, version=app.version, description=DESCRIPTION, routes=app.routes)
        schemes = schema.setdefault("components", {}).setdefault("securitySchemes", {})
        schemes["key"] = {"type": "http", "scheme": "bearer", "description": "A key of this hub: sk-byom-…"}
        schema["security"] = [{"key": []}]
        for path, operations in schema["paths"].items():
            for method, operation in operations.items():
                role = "inference" if (method.upper(), path) in OPEN_TO_INFERENCE else "admin"
                operation["x-role"] = role
                for parameter in operation.get("parameters", ()):
                    parameter["schema"] = _without_null(parameter["schema"])
        app.openapi_schema = schema
    return app.openapi_schema


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter in a URL may be left out, and cannot be null."""
    kinds = [kind for kind in schema.get("anyOf", ()) if kind.get("type") != "null"]
    if not kinds:
        return schema
    rest = {name: value for name, value in schema.items() if name != "anyOf"}
    return rest | (kinds[0] if len(kinds) == 1 else {"anyOf": kinds})
