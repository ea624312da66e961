"""Leaves an upstream alone for a while after it failed often, and keeps retries from multiplying its trouble."""

from __future__ import annotations

import time

from byom.catalog.snapshot import Circuit

STARTING_RETRIES = 10.0
"""Retries that a connection may make before it has made calls to earn them."""


class Breaker:
    """Closed: calls pass. Open: none does. Half-open: one does, and what comes of it decides."""

    __slots__ = ("_failures", "_probing", "open_until", "retries")

    def __init__(self) -> None:
        self._failures = 0
        self.open_until = 0.0
        self._probing = False
        self.retries = STARTING_RETRIES

    @property
    def state(self) -> str:
        if not self.open_until:
            return "closed"
        return "open" if time.monotonic() < self.open_until else "half-open"

    def refused_for(self) -> float:
        """Seconds for which calls are refused; 0 lets this call pass, as the one probe when half-open."""
        if not self.open_until:
            return 0.0
        left = self.open_until - time.monotonic()
        if left > 0:
            return left
        if self._probing:
            return 1.0
        self._probing = True
        return 0.0

    def succeeded(self) -> None:
        if self._failures or self.open_until:
            self._failures = 0
            self.open_until = 0.0
            self._probing = False

    def failed(self, settings: Circuit) -> bool:
        """Count a failure of the upstream itself (not of a request); True when the circuit opens with it."""
        self._failures += 1
        reopened = self._probing
        self._probing = False
        if reopened or (settings.failures and self._failures >= settings.failures):
            opens = not self.open_until or reopened
            self.open_until = time.monotonic() + settings.seconds
            return opens
        return False

    def gave_up(self) -> None:
        """The call that probed was cancelled, so it says nothing: the next one probes."""
        self._probing = False

    def earn(self, share: float) -> None:
        """A call began: it earns a part of a retry."""
        if self.retries < STARTING_RETRIES:
            self.retries = min(STARTING_RETRIES, self.retries + share)

    def spend_retry(self) -> bool:
        if self.retries < 1.0:
            return False
        self.retries -= 1.0
        return True
