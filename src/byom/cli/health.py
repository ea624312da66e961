"""The checks of ``byom doctor``."""

from __future__ import annotations

import asyncio
import importlib.metadata
import os
import re
import shutil
import socket
import stat
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from byom._client.place import running_hub
from byom.errors import ByomError, ConfigError, Unavailable
from byom.settings import Settings, load_settings

if TYPE_CHECKING:
    from byom.client import AsyncClient

_MIN_FREE = 500 * 1024 * 1024
_MIN_FILES = 1024
_LONGEST = 30.0
_EARLIEST = 1_767_225_600
"""2026-01-01: before it this program did not exist, so the clock is wrong."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    state: Literal["ok", "warning", "failed"] = "ok"
    message: str
    mend: str = ""
    """What to do about it."""


def _failed(name: str, message: str, mend: str) -> Finding:
    return Finding(name=name, state="failed", message=message, mend=mend)


async def examine() -> list[Finding]:
    """All checks, in the order in which one may explain the next."""
    found = [python_version(), packages()]
    try:
        settings = load_settings()
    except ConfigError as error:
        return [*found, _failed("settings", error.message, "Correct the flag, variable or byom.toml that is named.")]
    found += [home_folder(settings.home), disk_space(settings.home), open_files(), clock()]
    if any(one.name == "home" and one.state == "failed" for one in found):
        return found
    found += [secret_files(settings), listening(settings)]
    return found + await _of_a_hub(settings)


def python_version() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < (3, 11):  # noqa: UP036 - an older one may have been forced upon it
        return _failed("python", version, "Install Python 3.11 or newer.")
    return Finding(name="python", message=version)


def packages() -> Finding:
    """Whether what this package requires is there, in a version that it takes."""
    missing = []
    count = 0
    for line in importlib.metadata.requires("byom") or ():
        if "extra ==" in line or ("sys_platform" in line and sys.platform == "win32"):
            continue
        requirement = re.match(r"([A-Za-z0-9._-]+)\s*(?:>=\s*([0-9.]+))?", line)
        if requirement is None:
            continue
        count += 1
        try:
            version = importlib.metadata.version(requirement[1])
        except importlib.metadata.PackageNotFoundError:
            missing.append(requirement[1])
            continue
        if requirement[2] and _numbers(version) < _numbers(requirement[2]):
            missing.append(f"{requirement[1]} {version} (needs {requirement[2]})")
    if missing:
        return _failed("packages", f"missing or too old: {', '.join(missing)}", "pip install --upgrade byom")
    return Finding(name="packages", message=f"all {count} are there")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def home_folder(home: Path) -> Finding:
    """It may be missing still; what is there has to be writable, and closed to others."""
    nearest = next((one for one in (home, *home.parents) if one.exists()), Path("/"))
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        return _failed("home", f"{home} cannot be written", f"Own {nearest}, or set BYOM_HOME to another folder.")
    if not home.exists():
        return Finding(name="home", message=f"{home} will be made")
    if stat.S_IMODE(home.stat().st_mode) & 0o077:
        return _failed("home", f"others may look into {home}", f"chmod 700 {home}")
    return Finding(name="home", message=str(home))


def secret_files(settings: Settings) -> Finding:
    """Only their owner may read them."""
    present = [path for path in (settings.key_file, settings.admin_key_file) if path.exists()]
    open_to_others = [path for path in present if stat.S_IMODE(path.stat().st_mode) & 0o077]
    if open_to_others:
        names = " ".join(map(str, open_to_others))
        return _failed("secret files", f"others may read {names}", f"chmod 600 {names}")
    return Finding(name="secret files", message="closed to others" if present else "none yet")


def disk_space(home: Path) -> Finding:
    nearest = next(one for one in (home, *home.parents) if one.exists())
    free = shutil.disk_usage(nearest).free
    shown = f"{free / 2**30:.1f} GiB free"
    if free < _MIN_FREE:
        return _failed("disk", shown, f"Free some space below {nearest}: calls that cannot be recorded are refused.")
    return Finding(name="disk", message=shown)


def open_files() -> Finding:
    """Each open call needs two."""
    try:
        import resource
    except ImportError:
        return Finding(name="open files", message="not limited here")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < _MIN_FILES:
        return Finding(
            name="open files",
            state="warning",
            message=f"at most {soft}, which is about {soft // 2} calls at a time",
            mend=f"ulimit -n {min(hard, 65_536) if hard > 0 else 65_536}",
        )
    return Finding(name="open files", message="unlimited" if soft == resource.RLIM_INFINITY else f"at most {soft}")


def clock() -> Finding:
    """Budgets, expiry and certificates go by it."""
    import time

    if time.time() < _EARLIEST:
        return _failed("clock", time.strftime("%Y-%m-%d", time.gmtime()), "Set this machine's clock.")
    return Finding(name="clock", message=time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()))


def listening(settings: Settings) -> Finding:
    running = running_hub(settings.home)
    if running is not None:
        return Finding(name="hub", message=f"runs at {running.url}")
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((settings.host.strip("[]"), settings.port))
        except OSError as error:
            why = error.strerror or str(error)
            return Finding(
                name="hub",
                state="warning",
                message=f"does not run, and {settings.host}:{settings.port} cannot be had: {why}",
                mend="Stop the program that has the port, or use: byom serve --port 0",
            )
    return Finding(name="hub", message=f"does not run; {settings.host}:{settings.port} is free")


async def _of_a_hub(settings: Settings) -> list[Finding]:
    """What shows only in a hub: the one that runs, else one in this process."""
    from byom.client import AsyncClient

    parts: tuple[tuple[str, Callable[[AsyncClient], Awaitable[str]], str], ...] = (
        ("database", _database, "Check database_url, the disk and the secret key; the message says which."),
        ("built-in models", _builtin, "The hub's log says why they do not run; reinstalling byom mends files."),
    )
    findings = []
    async with AsyncClient(home=settings.home) as client:
        for name, check, mend in parts:
            findings.append(await _tried(name, check(client), mend))
            if findings[-1].state == "failed":
                break
    return findings


async def _tried(name: str, check: Awaitable[str], mend: str) -> Finding:
    try:
        return Finding(name=name, message=await asyncio.wait_for(check, _LONGEST))
    except (ByomError, OSError, TimeoutError) as error:
        return _failed(name, str(error) or type(error).__name__, mend)


async def _database(client: AsyncClient) -> str:
    """Opening it brings it up to date and decrypts every secret, so an answer says that both went well."""
    info = await client.info()
    ledger = info["ledger"]
    if ledger["failure"] or not ledger["accepting"]:
        raise Unavailable(f"the ledger takes no rows: {ledger['failure'] or 'the disk is full'}")
    connections = await client.connections.list()
    stored = sum(bool(one["key_hint"] is not None) + len(one["secret_headers"]) for one in connections)
    days = f"for {ledger['days']} days" if ledger["days"] else "for ever"
    return f"{info['database']}, up to date; {stored} secrets stored, all can be opened; calls are kept {days}"


async def _builtin(client: AsyncClient) -> str:
    """Under the names that they have now. Who removed or disabled them did so knowingly: that is no fault."""
    connections = {one["name"]: one for one in await client.connections.list() if one["kind"] == "builtin"}
    if not connections:
        return 'removed from this catalog; a byom.toml brings them back: [connections.builtin] with kind = "builtin"'
    present = [one for one in await client.models.list() if one["connection"] in connections]
    usable = [one for one in present if one["enabled"] and connections[one["connection"]]["enabled"]]
    if not usable:
        return "disabled" if present else "all removed from the connection " + ", ".join(connections)
    chat = next((one["name"] for one in usable if "chat" in one["abilities"]), None)
    if chat is None:
        vectors = await client.embed(usable[0]["name"], "One text is enough.")
        return f"answer (a vector of {len(vectors[0])} numbers)"
    answer = await client.chat(chat, "One sentence is enough.", max_tokens=16)
    return f"answer ({answer.usage.completion_tokens if answer.usage else 0} tokens)"
