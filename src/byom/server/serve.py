"""`byom serve`: a hub on a socket, until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import logging
import os
import signal
import socket
import ssl
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

from byom.errors import ConfigError
from byom.gateway.http.listener import Listener
from byom.server import fallback
from byom.server.hub import Hub
from byom.server.logs import set_up_logging

if TYPE_CHECKING:
    from byom.settings import Settings

log = logging.getLogger("byom.server")


def serve(settings: Settings, *, on_ready: Callable[[str], None] | None = None) -> None:
    """Serve until SIGTERM or SIGINT; a second one ends it at once. ``on_ready`` is given the hub's URL.

    Raises `ConfigError` when the port is taken, or when another hub has this home.
    """
    set_up_logging(settings)
    settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    with one_hub_a_home(settings.home):
        listening = listen(settings.host, settings.port)
        with contextlib.closing(listening):
            with _runner() as runner:
                runner.run(_serve(settings, listening, on_ready))


def _runner() -> asyncio.Runner:
    if sys.platform == "win32":
        return asyncio.Runner()
    import uvloop

    return asyncio.Runner(loop_factory=uvloop.new_event_loop)


async def _serve(settings: Settings, listening: socket.socket, on_ready: Callable[[str], None] | None) -> None:
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    hub = Hub(settings)
    await hub.start()
    others = fallback.Fallback(hub.app)
    listener = Listener(hub.gateway, others.protocol, loop=loop, check_origin=hub.check_origin)
    address = url_of(settings, listening)
    record = settings.home / "hub.json"
    try:
        await listener.listen(listening, tls_context(settings))
        write_record(record, address)
        _on_signals(loop, stopping)
        log.info("serving at %s", address)
        if on_ready is not None:
            on_ready(address)
        await stopping.wait()
        log.info("stopping; calls under way have %g s", settings.drain_seconds)
    finally:
        record.unlink(missing_ok=True)
        listener.stop_accepting()
        await others.stop(settings.drain_seconds)
        await hub.stop(settings.drain_seconds)
        listener.close()


def _on_signals(loop: asyncio.AbstractEventLoop, stopping: asyncio.Event) -> None:
    def stop() -> None:
        if stopping.is_set():
            os._exit(130)
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)


def listen(host: str, port: int) -> socket.socket:
    """A bound socket. Raises `ConfigError` that says why it cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host.strip("[]"), port))
    except OSError as error:
        listening.close()
        if isinstance(error, PermissionError):
            raise ConfigError(f"Port {port} needs more rights; choose one above 1023: --port 8420") from error
        raise ConfigError(
            f"Cannot listen on {host}:{port}: {error.strerror or error}. "
            "Is another program using the port? Choose another one with --port, or 0 for a free one."
        ) from error
    listening.setblocking(False)  # noqa: FBT003
    return listening


def url_of(settings: Settings, listening: socket.socket) -> str:
    port = listening.getsockname()[1]
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, settings.host)  # noqa: S104 - compared only
    if ":" in host and not host.startswith("["):
        host = f"[{host}]"
    return f"{'https' if settings.ssl_certfile else 'http'}://{host}:{port}"


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    if settings.ssl_certfile is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(settings.ssl_certfile, settings.ssl_keyfile)
    except OSError as error:
        raise ConfigError(f"The certificate {settings.ssl_certfile} cannot be loaded: {error}") from error
    return context


def write_record(path: Path, address: str) -> None:
    """Tell the command line and the library where this home's hub is."""
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps({"pid": os.getpid(), "url": address}), encoding="utf-8")
    fresh.replace(path)


@contextlib.contextmanager
def one_hub_a_home(home: Path) -> Iterator[IO[str]]:
    """Two hubs of one home would each count limits for themselves. The lock goes with the process, however it ends."""
    with (home / "hub.lock").open("a+", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigError(
                f"Another hub is running with the home {home}. Stop it first, or choose another --home."
            ) from error
        yield lock
