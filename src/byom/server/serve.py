"""`byom serve`: a hub on a socket, until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from byom.errors import ConfigError
from byom.server.address import hold, listen, url_of
from byom.server.event_loop import runner, stop_on_signals
from byom.server.home import one_hub_a_home, write_record
from byom.server.logs import set_up_logging

if TYPE_CHECKING:
    import socket

    from byom.settings import Settings

log = logging.getLogger("byom.server")


def serve(settings: Settings, *, on_ready: Callable[[str], None] | None = None) -> None:
    """Serve until SIGTERM or SIGINT; a second one ends it at once. ``on_ready`` is given the hub's URL.

    With more than one worker this process holds them together and serves nothing itself. Raises `ConfigError` when the
    port is taken, or when another hub has this home.
    """
    set_up_logging(settings)
    make_home(settings.home)
    several = settings.workers > 1
    with one_hub_a_home(settings.home):
        bound = (hold if several else listen)(settings.host, settings.port)
        with contextlib.closing(bound), runner() as loop:
            loop.run((_serve_with_workers if several else _serve)(settings, bound, on_ready))


def make_home(home: Path) -> None:
    """The hub's folder, for its owner alone. Raises `ConfigError` that says why it cannot be made."""
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"The home folder {home} cannot be made: {error.strerror or error}. Choose another one with --home.",
            param="home",
        ) from error


async def _serve(settings: Settings, listening: socket.socket, on_ready: Callable[[str], None] | None) -> None:
    # Imported here: the process that holds workers together stays small without them.
    from byom.server.front import Front
    from byom.server.hub import Hub

    stopping = asyncio.Event()
    address = url_of(settings, listening)
    hub = Hub(settings, url=address)
    await hub.start()
    front = Front(hub)
    record = settings.home / "hub.json"
    try:
        await front.listen(listening)
        write_record(record, address)
        stop_on_signals(stopping)
        _tell(address, on_ready)
        await stopping.wait()
        log.info("stopping; calls under way have %g s", settings.drain_seconds)
    finally:
        record.unlink(missing_ok=True)
        await front.stop(settings.drain_seconds)


async def _serve_with_workers(settings: Settings, held: socket.socket, on_ready: Callable[[str], None] | None) -> None:
    from byom.server.supervisor import Supervisor

    stopping = asyncio.Event()
    address = url_of(settings, held)
    supervisor = Supervisor(settings, port=held.getsockname()[1], url=address)
    stop_on_signals(stopping, supervisor.kill)
    record = settings.home / "hub.json"
    try:
        if await supervisor.start(stopping):
            write_record(record, address)
            _tell(address, on_ready)
            await stopping.wait()
            log.info("stopping; calls under way have %g s", settings.drain_seconds)
    finally:
        record.unlink(missing_ok=True)
        await supervisor.stop()


def _tell(address: str, on_ready: Callable[[str], None] | None) -> None:
    log.info("serving at %s", address)
    if on_ready is not None:
        on_ready(address)
