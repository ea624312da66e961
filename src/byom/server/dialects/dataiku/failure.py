"""What went wrong, in the two forms that the client knows: an answer with an error status, or a query that failed."""

from __future__ import annotations

from typing import Any

import msgspec

from byom.errors import ByomError

_MODEL_FAULTS = frozenset({"upstream_error", "server_error"})


class Failure(Exception):
    """``status`` and ``retry_after`` (seconds, as the header says it) matter only to an answer of its own."""

    def __init__(
        self, message: str, *, status: int = 400, code: str = "invalid_request", kind: str = "", retry_after: str = ""
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.code = code
        self.kind = kind or "invalid_request_error"
        self.retry_after = retry_after

    @classmethod
    def of_error(cls, error: ByomError) -> Failure:
        seconds = error.retry_after
        return cls(
            error.message,
            status=error.status,
            code=error.code,
            kind=error.type,
            retry_after="" if seconds is None else str(max(1, round(seconds + 0.5))),
        )

    @classmethod
    def of_answer(cls, status: int, body: bytes, retry_after: str = "") -> Failure:
        """From an error answer of the gateway, which has OpenAI's form."""
        try:
            said: Any = msgspec.json.decode(body)
        except msgspec.DecodeError:
            said = None
        return cls.of_body(said, status=status, retry_after=retry_after)

    @classmethod
    def of_body(cls, said: Any, *, status: int = 502, retry_after: str = "") -> Failure:
        """From ``{"error": {message, type, code}}``; anything else becomes an error without details."""
        error = said.get("error") if isinstance(said, dict) else None
        if not isinstance(error, dict):
            error = {"message": error} if isinstance(error, str) else {}
        kind = str(error.get("type") or ("server_error" if status >= 500 else "invalid_request_error"))
        message = str(error.get("message") or f"The model's server answered HTTP {status}.")
        return cls(message, status=status, code=str(error.get("code") or kind), kind=kind, retry_after=retry_after)

    @property
    def source(self) -> str:
        return "MODEL" if self.kind in _MODEL_FAULTS else "HUB"

    def body(self) -> dict[str, Any]:
        """The client raises ``DataikuException("<errorType>: <detailedMessage>")``."""
        return {"errorType": self.code, "message": self.message, "detailedMessage": self.message}

    def details(self) -> dict[str, Any]:
        """Of one query, and of an ``error-chunk``."""
        return {
            "errorMessage": self.message,
            "errorCode": self.code,
            "errorType": self.kind,
            "errorSource": self.source,
        }

    def response(self) -> dict[str, Any]:
        """The response of a query that failed."""
        return {"ok": False, **self.details()}


def not_served(what: str) -> Failure:
    """For what a DSS instance does and a hub does not: refused, because leaving it out would go unnoticed."""
    return Failure(f"{what} This hub does not do that.", status=400, code="not_supported")
