"""Who calls, for models that need to know: set for each request, seen by everything that answers it."""

from __future__ import annotations

from contextvars import ContextVar

USER_HEADER = b"x-byom-user"

current_request: ContextVar[str] = ContextVar("byom_host_request", default="")
"""The id of the request that is answered, as its answer has it."""

current_user: ContextVar[str] = ContextVar("byom_host_user", default="")
"""The id of the user whose call is answered; empty where nobody said."""
