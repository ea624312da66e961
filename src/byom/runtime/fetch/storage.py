"""Weights in object stores and other file systems, through fsspec where it is installed."""

from __future__ import annotations

import asyncio
import importlib
import posixpath
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from byom.errors import MissingExtra
from byom.runtime.fetch.errors import FetchError, FetchNotFound
from byom.runtime.fetch.files import RemoteFile
from byom.runtime.specs.forms import Variant

_CHUNK = 8 * 1024 * 1024
_WANTED = (".json", ".txt", ".model", ".jinja", ".tiktoken", ".safetensors", ".bin")


def open_storage(uri: str) -> tuple[Any, str]:
    """The file system and the path in it. Raises `MissingExtra` without fsspec or the package of the scheme."""
    scheme = uri.partition("://")[0]
    try:
        fsspec = importlib.import_module("fsspec")
        system, path = fsspec.core.url_to_fs(uri)
    except ImportError as error:
        raise MissingExtra("remote", f"{scheme}://") from error
    return system, str(path)


def storage_files(variant: Variant) -> tuple[RemoteFile, ...]:
    """The files of a variant; ``url`` is the path in the file system. Blocks."""
    system, path = open_storage(variant.uri or "")
    try:
        if variant.format == "ggufv2":
            if path.endswith(".gguf"):
                names = {posixpath.basename(path): path}
            else:
                names = {name: f"{path}/{name}" for name in (variant.parts or (variant.file_name or "",))}
            names |= {name: f"{path.rpartition('/')[0]}/{name}" for name in variant.projectors}
        else:
            found = [entry for entry in system.ls(path, detail=True) if entry["type"] == "file"]
            paths = [str(entry["name"]) for entry in found]
            names = {posixpath.basename(one): one for one in paths if one.endswith(_WANTED)}
        return tuple(
            RemoteFile(name=name, url=one, size=int(system.info(one)["size"]), sha256=_digest(variant, name))
            for name, one in names.items()
        )
    except FileNotFoundError as error:
        raise FetchNotFound(f"{variant.uri} is not there: {error}.") from error
    except Exception as error:
        raise FetchError(f"{variant.uri} cannot be listed: {type(error).__name__}: {error}") from error


async def copy_from_storage(
    uri: str, file: RemoteFile, part: Path, on_bytes: Callable[[int], None] | None = None
) -> None:
    """Copies to ``part``, going on from what is there. Cancelling it ends the copy after the present piece."""
    system, _ = open_storage(uri)
    stop = threading.Event()
    copying = asyncio.ensure_future(asyncio.to_thread(_copy, system, file, part, on_bytes, stop))
    try:
        await asyncio.shield(copying)
    except asyncio.CancelledError:
        stop.set()
        await asyncio.gather(copying, return_exceptions=True)
        raise


def _copy(
    system: Any, file: RemoteFile, part: Path, on_bytes: Callable[[int], None] | None, stop: threading.Event
) -> None:
    start = part.stat().st_size if part.exists() else 0
    if file.size is not None and start > file.size:
        start = 0
    try:
        source = system.open(file.url, "rb")
    except Exception as error:
        raise FetchError(f"{file.url} cannot be opened: {type(error).__name__}: {error}") from error
    with source, part.open("r+b" if start else "wb") as output:
        source.seek(start)
        output.seek(start)
        output.truncate()
        done = start
        while not stop.is_set() and (data := source.read(_CHUNK)):
            output.write(data)
            done += len(data)
            if on_bytes is not None:
                on_bytes(done)


def _digest(variant: Variant, name: str) -> str | None:
    return variant.checksums.get(name) or variant.checksums.get("*")
