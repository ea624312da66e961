"""Where the hub is that a client talks to."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from byom.errors import ConfigError
from byom.settings import is_loopback

Origin = Literal["argument", "BYOM_URL", "hub.json", "in process"]
IN_PROCESS_URL = "http://localhost"


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """A hub, and the key for it."""

    url: str
    """Without a path behind it: the gateway is at ``/v1``, the management API at ``/api``."""
    origin: Origin
    home: Path
    key: str | None = None
    verify_tls: bool = True

    @property
    def in_process(self) -> bool:
        return self.origin == "in process"

    @property
    def loopback(self) -> bool:
        return is_loopback(urlsplit(self.url).hostname or "")

    def __repr__(self) -> str:
        return f"Place(url={self.url!r}, origin={self.origin!r})"


class _HubFile(msgspec.Struct):
    pid: int
    url: str


def find_place(
    url: str | None = None,
    api_key: str | None = None,
    home: str | os.PathLike[str] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
) -> Place:
    """The hub that ``url`` names, else ``BYOM_URL``, else the running hub of the home folder, else one in process.

    ``home``: by default ``BYOM_HOME``, else ``~/.byom``. The admin key in the home folder is only ever used for the hub
    of that folder. Raises `ConfigError` for a URL that is none.
    """
    environ = os.environ if environ is None else environ
    folder = Path(home or environ.get("BYOM_HOME") or "~/.byom").expanduser().absolute()
    key = api_key or environ.get("BYOM_API_KEY") or None
    named, origin = url, "argument"
    if not named and home is None:
        named, origin = environ.get("BYOM_URL"), "BYOM_URL"
    running = running_hub(folder)
    if named:
        clean = _hub_url(named, "url" if origin == "argument" else origin)
        if key is None and running is not None and clean == running.url:
            key = admin_key(folder)
        return Place(url=clean, origin=origin, home=folder, key=key)  # type: ignore[arg-type]
    if running is not None:
        return msgspec.structs.replace(running, key=key or admin_key(folder))
    return Place(url=IN_PROCESS_URL, origin="in process", home=folder, key=api_key)


def running_hub(home: Path) -> Place | None:
    """The hub that serves this home folder now, without its key; ``None`` where none does."""
    found = _hub_file(home)
    if found is None or not _alive(found.pid):
        return None
    url = found.url.rstrip("/")
    parts = urlsplit(url)
    if not parts.hostname or not _listens(parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)):
        return None
    # The file lies in a folder that only its owner reads: it stands for the certificate of a hub on this machine.
    return Place(url=url, origin="hub.json", home=home, verify_tls=not is_loopback(parts.hostname))


def admin_key(home: Path) -> str | None:
    """The admin key of the home folder; ``None`` where there is none that can be read."""
    try:
        return (home / "admin.key").read_text(encoding="ascii").strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def _hub_file(home: Path) -> _HubFile | None:
    try:
        return msgspec.json.decode((home / "hub.json").read_bytes(), type=_HubFile)
    except (OSError, msgspec.DecodeError):
        return None


def _alive(pid: int) -> bool:
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _listens(host: str, port: int) -> bool:
    """A hub that was killed leaves its file behind, and its process id may belong to another program by now."""
    try:
        socket.create_connection((host, port), timeout=1.0).close()
    except OSError:
        return False
    return True


def _hub_url(text: str, where: str) -> str:
    """``scheme://host[:port]`` and a prefix, from what people paste."""
    url = text.strip()
    if "://" not in url:
        url = f"http://{url}"
    parts = urlsplit(url)
    try:
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        valid = False
    if not valid or parts.username or parts.password or parts.query or parts.fragment:
        raise ConfigError(f"{where}: this is not the URL of a hub. Use one such as http://127.0.0.1:8420", param="url")
    return url.rstrip("/").removesuffix("/v1").removesuffix("/api").rstrip("/")
