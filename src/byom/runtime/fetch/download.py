"""One file over HTTP: resumed where it stopped, checked, and there as a whole or not at all."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import httpx2
import msgspec

from byom.runtime.fetch.errors import ChecksumMismatch, DiskFull, FetchDenied, FetchError, FetchNotFound
from byom.runtime.fetch.files import RemoteFile
from byom.runtime.memory import amount

_BUFFER = 8 * 1024 * 1024
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")
_TRIED_AGAIN = (408, 425, 429, 500, 502, 503, 504)
_RESERVE = 64 * 1024 * 1024
"""Room that stays free."""


class Retries(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds between tries double from ``first``; a try that brought something does not count."""

    most: int = 5
    first: float = 1.0
    longest: float = 30.0


async def download(
    client: httpx2.AsyncClient,
    file: RemoteFile,
    target: Path,
    *,
    on_bytes: Callable[[int], None] | None = None,
    retries: Retries | None = None,
) -> bool:
    """Brings ``file`` to ``target``; until it is whole and checked it is ``<target>.part``.

    Args:
        on_bytes: called with the number of bytes of this file that are here, again and again.

    Returns False for an optional file that is not there. Raises `FetchError`, `FetchNotFound`, `FetchDenied`,
    `ChecksumMismatch` and `DiskFull`; cancelling it keeps the part for the next time.
    """
    retries = retries or Retries()
    part = target.with_name(target.name + ".part")
    failures = 0
    while True:
        before = _size(part)
        try:
            found = await _attempt(client, file, part, on_bytes)
            break
        except (httpx2.TransportError, _Again) as error:
            failures = 1 if _size(part) > before else failures + 1
            if failures > retries.most:
                raise FetchError(f"{file.url} cannot be fetched: {_reason(error)}. {_kept(part)}") from error
            await asyncio.sleep(min(retries.longest, retries.first * 2 ** (failures - 1)))
        except OSError as error:
            raise _disk(error, part) from error
    if not found:
        return False
    await check_part(file, part, target)
    return True


async def check_part(file: RemoteFile, part: Path, target: Path) -> None:
    """Checks a part that is whole, and makes it the target. Raises `ChecksumMismatch`, `DiskFull`."""
    try:
        await _check(file, part)
        await asyncio.to_thread(_finish, part, target)
    except OSError as error:
        raise _disk(error, part) from error


class _Again(Exception):
    """A passing failure of the server."""


async def _attempt(
    client: httpx2.AsyncClient, file: RemoteFile, part: Path, on_bytes: Callable[[int], None] | None
) -> bool:
    start, validator = _size(part), _validator(part)
    headers = {"accept-encoding": "identity"}
    if start and file.size is not None and start > file.size:
        start = 0
    if start:
        headers["range"] = f"bytes={start}-"
        if validator:
            headers["if-range"] = validator
    if start and file.size == start:
        return True
    async with client.stream("GET", file.url, headers=headers) as answer:
        if answer.status_code == 416:
            _forget(part)
            raise _Again("the server cannot go on where the last try ended")
        if not _is_there(answer, file):
            return False
        part.parent.mkdir(parents=True, exist_ok=True)
        begin = _begin(answer, start)
        total = _total(answer, begin)
        make_room(part, (total or file.size or 0) - begin)
        _remember(part, answer.headers.get("etag"))
        with part.open("r+b" if begin else "wb") as output:
            if begin:
                output.seek(begin)
                output.truncate()
            await _receive(answer, output, begin, on_bytes)
    if total is not None and _size(part) < total:
        raise _Again(f"the connection ended after {_size(part)} of {total} bytes")
    return True


async def _receive(
    answer: httpx2.Response, output: IO[bytes], begin: int, on_bytes: Callable[[int], None] | None
) -> None:
    held, size, done = [], 0, begin
    try:
        async for data in answer.aiter_raw():
            held.append(data)
            size += len(data)
            done += len(data)
            if size >= _BUFFER:
                await asyncio.to_thread(output.writelines, held)
                held, size = [], 0
            if on_bytes is not None:
                on_bytes(done)
    finally:
        output.writelines(held)  # what has come is kept, also where the rest does not


def _is_there(answer: httpx2.Response, file: RemoteFile) -> bool:
    status = answer.status_code
    if status in (200, 206):
        return True
    if status == 404:
        if file.optional:
            return False
        raise FetchNotFound(f"{file.url} is not there (404). Check the name, the revision and the quantization.")
    if status in (401, 403):
        raise FetchDenied(
            f"{file.url} is not given to us ({status}). Set HF_TOKEN to a token that may read it, and accept the terms "
            "of the model on its page where it has any."
        )
    if status in _TRIED_AGAIN:
        raise _Again(f"the server answers {status}")
    raise FetchError(f"{file.url} cannot be fetched: the server answers {status}.")


def _begin(answer: httpx2.Response, start: int) -> int:
    """Where the answer's bytes belong: at ``start`` where the server goes on, at 0 where it begins anew."""
    if answer.status_code != 206:
        return 0
    match = _RANGE.fullmatch(answer.headers.get("content-range", ""))
    if match is None or int(match[1]) != start:
        raise _Again("the server gave another part than was asked for")
    return start


def _total(answer: httpx2.Response, begin: int) -> int | None:
    length = answer.headers.get("content-length", "")
    return begin + int(length) if length.isdigit() else None


def make_room(part: Path, needed: int) -> None:
    """Raises `DiskFull` where the disk of ``part`` has not so many bytes free."""
    free = shutil.disk_usage(part.parent).free
    if needed > 0 and needed + _RESERVE > free:
        raise DiskFull(
            f"The disk of {part.parent} is full: {amount(needed)} more are needed, {amount(free)} are free. "
            f"Make room, then try again. {_kept(part)}"
        )


async def _check(file: RemoteFile, part: Path) -> None:
    size = _size(part)
    if file.size is not None and size != file.size:
        _forget(part)
        raise ChecksumMismatch(f"{file.url} has {size} bytes instead of {file.size}. It was deleted; try again.")
    if file.sha256 is None:
        return
    digest = await asyncio.to_thread(sha256_of, part)
    if digest != file.sha256.lower():
        _forget(part)
        raise ChecksumMismatch(
            f"{file.url} has the SHA-256 {digest} instead of {file.sha256}. It was deleted; try again, or "
            "mend sha256 in the spec where the file has changed on purpose."
        )


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _finish(part: Path, target: Path) -> None:
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(target)
    _note(part).unlink(missing_ok=True)


# --- the part and what is known of it


def _size(part: Path) -> int:
    try:
        return part.stat().st_size
    except OSError:
        return 0


def _note(part: Path) -> Path:
    return part.with_name(part.name + ".etag")


def _validator(part: Path) -> str | None:
    with contextlib.suppress(OSError):
        return _note(part).read_text(encoding="latin-1") or None
    return None


def _remember(part: Path, etag: str | None) -> None:
    """A weak tag does not tell whether bytes are the same, so it cannot be gone on from."""
    if etag and not etag.startswith("W/"):
        _note(part).write_text(etag, encoding="latin-1")
    else:
        _note(part).unlink(missing_ok=True)


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _note(part).unlink(missing_ok=True)


def _kept(part: Path) -> str:
    size = _size(part)
    return f"What has come ({amount(size)}) is kept, and the next try goes on from there." if size else "Try again."


def _disk(error: OSError, part: Path) -> Exception:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(f"The disk of {part.parent} is full. Make room, then try again. {_kept(part)}")
    return FetchError(f"{part} cannot be written: {error.strerror}.", details={"errno": error.errno})


def _reason(error: Exception) -> Any:
    return str(error) or type(error).__name__
