"""One tree of errors; status, OpenAI type and code, and retryability are class attributes.

ByomError
├── BadRequest                      400  the caller's input is wrong
│   └── ConfigError                 400  a setting or byom.toml is wrong
├── Unauthenticated                 401  no key, or a key that is not valid
├── PriceRequired                   402  the hub serves priced models only, and this one has no price
├── PermissionDenied                403  a valid key that may not do this
│   └── DestinationDenied           403  the network policy forbids this address
├── NotFound                        404
│   └── ModelNotFound               404
├── MethodNotAllowed                405
├── Conflict                        409
├── PayloadTooLarge                 413
├── UnprocessableRequest            422
├── LimitExceeded                   429  requests, tokens or concurrency; carries retry_after
│   └── BudgetExceeded              429  money of this period is spent
├── UpstreamError                   502  the model's server failed
│   ├── UpstreamUnreachable         502  DNS, refused, TLS, broken connection
│   ├── UpstreamAuth                502  it rejected the key that is stored for it
│   ├── UpstreamProtocol            502  its answer is not what the wire format says
│   ├── UpstreamOverloaded          503  it answers 503 or similar
│   ├── CircuitOpen                 503  it failed often, and is left alone for a while
│   └── UpstreamTimeout             504
├── Unavailable                     503  this hub cannot serve now (shutting down, starting)
└── MissingExtra                    500  an optional package is not installed
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar


class ByomError(Exception):
    """Base of every error that BYOM raises. ``str(error)`` says what happened and what to do next."""

    status: ClassVar[int] = 500
    type: ClassVar[str] = "server_error"
    code: str = "internal_error"
    retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        retry_after: float | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after = retry_after
        """Seconds after which trying again makes sense, where that is known."""
        self.details = dict(details or {})
        if code is not None:
            self.code = code

    def body(self) -> dict[str, Any]:
        """The OpenAI error form: ``{"error": {message, type, param, code}}``."""
        error: dict[str, Any] = {
            "message": self.message,
            "type": self.type,
            "param": self.param,
            "code": self.code,
        }
        if self.details:
            error["details"] = self.details
        return {"error": error}


class BadRequest(ByomError):
    status = 400
    type = "invalid_request_error"
    code = "invalid_request"


class ConfigError(BadRequest):
    code = "invalid_config"


class Unauthenticated(ByomError):
    status = 401
    type = "authentication_error"
    code = "invalid_api_key"


class PriceRequired(ByomError):
    status = 402
    type = "invalid_request_error"
    code = "price_required"


class PermissionDenied(ByomError):
    status = 403
    type = "permission_error"
    code = "permission_denied"


class DestinationDenied(PermissionDenied):
    code = "destination_denied"


class NotFound(ByomError):
    status = 404
    type = "invalid_request_error"
    code = "not_found"


class ModelNotFound(NotFound):
    code = "model_not_found"


class MethodNotAllowed(ByomError):
    status = 405
    type = "invalid_request_error"
    code = "method_not_allowed"


class Conflict(ByomError):
    status = 409
    type = "invalid_request_error"
    code = "conflict"


class PayloadTooLarge(ByomError):
    status = 413
    type = "invalid_request_error"
    code = "request_too_large"


class UnprocessableRequest(ByomError):
    status = 422
    type = "invalid_request_error"
    code = "unprocessable_request"


class LimitExceeded(ByomError):
    status = 429
    type = "rate_limit_error"
    code = "rate_limit_exceeded"
    retryable = True


class BudgetExceeded(LimitExceeded):
    type = "insufficient_quota"
    code = "insufficient_quota"
    retryable = False


class UpstreamError(ByomError):
    status = 502
    type = "upstream_error"
    code = "upstream_error"
    retryable = True


class UpstreamUnreachable(UpstreamError):
    code = "upstream_unreachable"


class CodeError(UpstreamError):
    """A user's code raised something: it would again."""

    code = "code_error"
    retryable = False


class UpstreamAuth(UpstreamError):
    code = "upstream_auth"
    retryable = False


class UpstreamProtocol(UpstreamError):
    code = "upstream_protocol"


class UpstreamOverloaded(UpstreamError):
    status = 503
    code = "upstream_overloaded"


class CircuitOpen(UpstreamError):
    status = 503
    code = "circuit_open"


class UpstreamTimeout(UpstreamError):
    status = 504
    code = "upstream_timeout"


class Unavailable(ByomError):
    status = 503
    code = "unavailable"
    retryable = True


class MissingExtra(ByomError):
    """An optional package is needed; the message names the extra that installs it."""

    code = "missing_extra"

    def __init__(self, extra: str, needed_for: str) -> None:
        super().__init__(f"{needed_for} needs an optional package. Install it with: pip install 'byom[{extra}]'")
        self.extra = extra
