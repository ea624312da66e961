"""The outermost layer: a request id on every answer, no answer kept by anybody, and no exception that gets out."""

from __future__ import annotations

import logging
import re

from byom.errors import ByomError
from byom.ledger.request_id import new_id
from byom.server.api.asgi import App, Message, Receive, Scope, Send, header
from byom.server.api.departure import CallerLeft
from byom.server.api.problems import error_response, of_exception

log = logging.getLogger("byom.server.api")
_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")
HEADERS = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)


class Boundary:
    """Pure ASGI. A caller's own ``x-request-id`` is kept where it is printable and not longer than 128."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = header(scope, b"x-request-id") or ""
        request_id = given if _REQUEST_ID.fullmatch(given) else new_id()
        started = False

        async def send_with_id(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                own = [*HEADERS, (b"x-request-id", request_id.encode())]
                message = {**message, "headers": [*message.get("headers", ()), *own]}
            await send(message)

        # A server in front may say that it serves us below a path; paths here are whole whatever it says.
        scope = {**scope, "root_path": "", "byom.request_id": request_id}
        try:
            await self._app(scope, receive, send_with_id)
        except CallerLeft:
            log.debug("the caller of request %s left before its answer", request_id)
        except Exception as error:
            if started:
                raise
            known = of_exception(error)
            if known is None:
                log.exception("a fault of the management API, request %s", request_id)
                known = ByomError(f"A fault of the hub; its log has the details under {request_id}.")
            await error_response(known)(scope, receive, send_with_id)
