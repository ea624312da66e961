"""The worker's way to its host: safe to use from every thread, useless to what the worker forks."""

from __future__ import annotations

import fcntl
import os
import socket
import threading
from typing import Any, Dict, Optional  # noqa: UP035 - evaluated on Python 3.9

from . import frames

_OUT_OF_THE_WAY = 400


class Channel:
    """Messages to and from the host.

    The descriptor is moved to a high number, away from code that closes those it does not know, and is closed in
    forked processes. A host that has gone ends this process.
    """

    def __init__(self, descriptor: int) -> None:
        try:
            high = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _OUT_OF_THE_WAY)
        except OSError:
            high = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3)
        os.close(descriptor)
        self._socket = socket.socket(fileno=high)
        self._pid = os.getpid()
        self._lock = threading.Lock()
        os.register_at_fork(after_in_child=self._forked)

    def _forked(self) -> None:
        self._socket.close()

    def send(self, message: Dict[str, Any]) -> None:  # noqa: UP006
        """Waits until the host has taken it. Raises ValueError or TypeError for what cannot be sent."""
        data = frames.pack(message)
        if os.getpid() != self._pid:
            os._exit(0)  # user code forked and returned twice: the answer of the first one counts
        try:
            with self._lock:
                self._socket.sendall(data)
        except OSError:
            os._exit(1)

    def read(self) -> Optional[Dict[str, Any]]:  # noqa: UP006, UP045
        """The host's next message; ``None`` when it has gone."""
        return frames.read(self._socket)
