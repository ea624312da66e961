"""Runs a host application as a process that belongs to the one that started it.

The server is uvicorn with httptools: its disconnect and back-pressure semantics are what cancellation rests on.
When the process listens it writes one line, ``{"port": N}``, to its standard output. It ends when its standard
input does: a parent that dies, however suddenly, takes it along.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from byom.host.app import HostApp

TOKEN_VARIABLE = "BYOM_UPSTREAM_TOKEN"  # noqa: S105 - the name of a variable
_MAX_TOKEN = 4096
_FORCE_AFTER = 3.0


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM files: the certificate with its chain, and its private key where that is not in the same file."""

    certificate: Path
    key: Path | None = None


def _announce(port: int) -> None:
    sys.stdout.write(json.dumps({"port": port}) + "\n")
    sys.stdout.flush()


class _AnnouncingServer(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, on_ready: Callable[[int], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and sockets:
            self._on_ready(sockets[0].getsockname()[1])


def read_token(from_stdin: bool) -> str | None:
    """The token from the first line of standard input, or from the environment (and then removed from there).

    Raises ValueError where standard input has no such line.
    """
    if not from_stdin:
        return os.environ.pop(TOKEN_VARIABLE, None)
    token = read_line(_MAX_TOKEN).decode("ascii").strip()
    if not token:
        raise ValueError("there is no token on standard input")
    return token


_unread = bytearray()


def read_line(longest: int) -> bytes:
    """The next line of standard input, without its end. Raises ValueError where it is longer.

    What is read beyond it is kept for the next line; nothing else may read standard input but `serve`.
    """
    while b"\n" not in _unread:
        data = os.read(0, 65536)
        if not data:
            break
        _unread.extend(data)
        if len(_unread) > longest + 65536:
            break
    line, _, rest = bytes(_unread).partition(b"\n")
    _unread[:] = rest
    if len(line) > longest:
        raise ValueError(f"a line on standard input is longer than {longest} bytes")
    return line


def serve(
    app: HostApp,
    host: str,
    port: int,
    *,
    follow_stdin: bool = True,
    tls: Tls | None = None,
    on_ready: Callable[[int], None] | None = None,
) -> None:
    """Serves until it is signalled or, with ``follow_stdin``, until standard input ends.

    ``on_ready`` gets the port, instead of the line. Raises OSError where it cannot listen, or has no certificate.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.create_server((host.strip("[]"), port), family=family, backlog=2048)
    config = uvicorn.Config(
        app,
        http="httptools",
        ws="none",
        lifespan="on",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=5,
        ssl_certfile=tls.certificate if tls is not None else None,
        ssl_keyfile=tls.key if tls is not None else None,
    )
    server = _AnnouncingServer(config, on_ready or _announce)
    if follow_stdin:
        threading.Thread(target=_follow_stdin, args=(server,), name="stdin", daemon=True).start()
    server.run(sockets=[listening])


def _follow_stdin(server: uvicorn.Server) -> None:
    try:
        while os.read(0, 4096):
            pass
    except OSError:
        pass  # closed: the same as its end
    # Nobody is left to answer to, so calls in flight are not waited for.
    server.config.timeout_graceful_shutdown = 1
    server.should_exit = True
    threading.Event().wait(_FORCE_AFTER)
    os._exit(1)  # a model that does not end its work must not outlive the parent
