"""Where a hub listens: the socket, its URL, its certificate."""

from __future__ import annotations

import errno
import ipaddress
import socket
import ssl
from typing import TYPE_CHECKING

from byom.errors import ConfigError

if TYPE_CHECKING:
    from byom.settings import Settings

FREE_PORT_TRIES = 20
_SELF = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared only
"""Addresses that mean all interfaces, and how this machine calls itself then."""
_FAR = {False: (socket.AF_INET, "192.0.2.1"), True: (socket.AF_INET6, "2001:db8::1")}
"""Addresses of documentation, which nobody has."""


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
    """For programs on this machine."""
    return _url(settings, _SELF.get(settings.host.strip("[]"), settings.host), listening.getsockname()[1])


def everywhere(settings: Settings) -> bool:
    """Whether it listens on all interfaces of this machine."""
    return settings.host.strip("[]") in _SELF


def url_for_others(settings: Settings, port: int) -> str | None:
    """For programs on other machines, by this machine's own address: a guess, which a port of a container or a router
    in between makes wrong. ``None`` where it only reaches itself.
    """
    address = _outward(*_FAR[settings.host.strip("[]") == "::"]) or _outward(*_FAR[False])
    return None if address is None else _url(settings, address, port)


def _outward(family: socket.AddressFamily, far: str) -> str | None:
    """The address from which packets to far away are sent. Connecting a datagram socket sends none."""
    with socket.socket(family, socket.SOCK_DGRAM) as trial:
        try:
            trial.connect((far, 9))
        except OSError:
            return None
        address = str(trial.getsockname()[0])
    return None if ipaddress.ip_address(address.partition("%")[0]).is_loopback else address


def _url(settings: Settings, host: str, port: int) -> str:
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


def hold(host: str, port: int) -> socket.socket:
    """A socket that keeps a port for other processes of this hub, and does not listen itself.

    Raises `ConfigError` as `listen` does, and where the system cannot share a port among processes.
    """
    if not hasattr(socket, "SO_REUSEPORT"):
        raise ConfigError("This system cannot share a port among processes: use --workers 1.", param="workers")
    for _ in range(FREE_PORT_TRIES):
        # Others that share a port, perhaps another hub, would let this one in: only a bind without sharing sees them.
        with listen(host, port) as probe:
            free = probe.getsockname()[1]
        try:
            return share(host, free)
        except OSError as error:
            if port or error.errno != errno.EADDRINUSE:
                raise ConfigError(f"Cannot listen on {host}:{free}: {error.strerror or error}.") from error
    raise ConfigError(f"No free port was found on {host}.")


def share(host: str, port: int) -> socket.socket:
    """A socket bound to a port that other processes of this user are bound to as well. Raises ``OSError``."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    shared = socket.socket(family, socket.SOCK_STREAM)
    try:
        shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        shared.bind((host.strip("[]"), port))
    except BaseException:
        shared.close()
        raise
    shared.setblocking(False)  # noqa: FBT003
    return shared
