"""Sends messages in one write for each round of the event loop."""

from __future__ import annotations

import asyncio
from typing import Any

from byom.limits.wire import frame


class Outbox:
    """Collects what is said during a round, however many calls say it."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._messages: list[Any] = []

    def put(self, message: Any) -> None:
        if not self._messages:
            asyncio.get_running_loop().call_soon(self._send)
        self._messages.append(message)

    def _send(self) -> None:
        messages, self._messages = self._messages, []
        if not self._transport.is_closing():
            self._transport.write(frame(messages))
