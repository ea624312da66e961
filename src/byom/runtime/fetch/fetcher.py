"""Brings the weights of a variant onto this machine, once."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx2
import msgspec

from byom.errors import ByomError
from byom.runtime.fetch.cache import ModelCache, source_of
from byom.runtime.fetch.download import Retries, check_part, download, make_room
from byom.runtime.fetch.errors import FetchError, FetchNotFound
from byom.runtime.fetch.files import Fetched, OnProgress, Progress, RemoteFile
from byom.runtime.fetch.hub import HubSettings, hub_files
from byom.runtime.fetch.storage import copy_from_storage, storage_files
from byom.runtime.fetch.web import url_name, web_files
from byom.runtime.specs.forms import Variant
from byom.runtime.specs.local_weights import local_files
from byom.runtime.specs.places import Place, place_of
from byom.types.target import NetworkPolicy
from byom.upstream.network import Resolver, check_host


class Fetcher:
    """Fetches over one HTTP client. Two fetches of one source wait for each other.

    Args:
        folder: the cache, ``<home>/models``.
        environ: where ``HF_ENDPOINT`` and ``HF_TOKEN`` stand; the process's own by default.
        offline: use what is here, and never the network.
        policy: which addresses may be reached.
    """

    def __init__(
        self,
        folder: Path,
        *,
        environ: Mapping[str, str] | None = None,
        offline: bool | None = None,
        policy: NetworkPolicy | None = None,
        retries: Retries | None = None,
    ) -> None:
        environ = os.environ if environ is None else environ
        self.cache = ModelCache(folder)
        self._hub = HubSettings.of(environ)
        self._offline = environ.get("HF_HUB_OFFLINE", "0") not in ("0", "") if offline is None else offline
        self._policy = policy or NetworkPolicy()
        self._resolver = Resolver()
        self._retries = retries or Retries()
        self._locks: dict[str, asyncio.Lock] = {}
        self._client: httpx2.AsyncClient | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def fetch(
        self,
        variant: Variant,
        *,
        projector: str | None = None,
        code: bool = False,
        on_progress: OnProgress | None = None,
    ) -> Fetched:
        """Where the weights are, fetched first where they are not here yet.

        Args:
            projector: the image encoder's file; the first of the spec where it is not given.
            code: with the repository's Python files, for ``trust_remote_code``.

        Raises `FetchError`, `FetchNotFound`, `FetchDenied`, `ChecksumMismatch`, `DiskFull`. Cancelling keeps the part.
        """
        local = await asyncio.to_thread(local_files, variant)
        if local is not None:
            return self._local(variant, local, projector)
        place = Place("hub", variant.model_id or "") if variant.uri is None else place_of(variant.uri)
        if place.kind == "hub":
            variant = msgspec.structs.replace(variant, model_id=place.where, uri=None)
        lock = self._locks.setdefault(str(self.cache.place(variant)), asyncio.Lock())
        async with lock:
            needed = needed_names(variant)
            if not await asyncio.to_thread(self.cache.is_complete, variant, needed):
                if self._offline:
                    raise FetchNotFound(
                        f"{source_of(variant)} is not on this machine, and the hub is offline (HF_HUB_OFFLINE)."
                    )
                await self._bring(variant, place, code, on_progress)
        return self._cached(variant, needed, projector)

    # --- where it is

    def _local(self, variant: Variant, local: tuple[Path, tuple[Path, ...]], projector: str | None) -> Fetched:
        path, parts = local
        for one in (path, *parts):
            if not one.exists():
                raise FetchNotFound(f"{one} is not there any more. Register the spec with the path of now.")
        return Fetched(path=path, parts=parts, projector=_projector(path.parent, variant, projector))

    def _cached(self, variant: Variant, needed: tuple[str, ...], projector: str | None) -> Fetched:
        folder = self.cache.place(variant)
        if variant.format != "ggufv2":
            return Fetched(path=folder)
        files = [folder / name for name in needed if name not in variant.projectors]
        return Fetched(path=files[0], parts=tuple(files[1:]), projector=_projector(folder, variant, projector))

    # --- bringing it

    async def _bring(self, variant: Variant, place: Place, code: bool, on_progress: OnProgress | None) -> None:
        files = await self._plan(variant, place, code)
        folder = self.cache.place(variant)
        await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
        missing = sum(file.size or 0 for file in files if not (folder / file.name).exists())
        parts = sum(path.stat().st_size for path in folder.rglob("*.part"))
        make_room(folder / "weights", missing - parts)
        meter = _Meter(files, on_progress)
        for file in files:
            target = folder / file.name
            meter.begin(file)
            if not target.is_file():
                await self._one(variant, place, file, target, meter)
            meter.end(target)
        names = tuple(file.name for file in files if (folder / file.name).is_file())
        await asyncio.to_thread(self.cache.write_note, variant, names, whole=variant.format != "ggufv2")

    async def _plan(self, variant: Variant, place: Place, code: bool) -> tuple[RemoteFile, ...]:
        if place.kind == "hub":
            return await hub_files(self._http(), self._hub, variant, code=code, pause=self._retries.first)
        if place.kind == "http":
            return await web_files(self._http(), variant)
        return await asyncio.to_thread(storage_files, variant)

    async def _one(self, variant: Variant, place: Place, file: RemoteFile, target: Path, meter: _Meter) -> None:
        if place.kind != "fsspec":
            await download(self._http(), file, target, on_bytes=meter.here, retries=self._retries)
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(target.name + ".part")
        try:
            await copy_from_storage(variant.uri or "", file, part, meter.here)
            await check_part(file, part, target)
        except ByomError:
            raise
        except Exception as error:
            raise FetchError(f"{file.url} cannot be fetched: {type(error).__name__}: {error}") from error

    def _http(self) -> httpx2.AsyncClient:
        if self._client is None:
            self._client = httpx2.AsyncClient(
                follow_redirects=True,
                timeout=httpx2.Timeout(30.0, read=120.0),
                headers={"user-agent": "byom"},
                event_hooks={"request": [self._allow]},
            )
        return self._client

    async def _allow(self, request: httpx2.Request) -> None:
        """Every address, those of redirects included, follows the network policy; the token goes to the hub alone."""
        host, port = request.url.host, request.url.port or (443 if request.url.scheme == "https" else 80)
        check_host(host, self._policy)
        await self._resolver.resolve(host, port, self._policy)
        hub = httpx2.URL(self._hub.endpoint)
        if self._hub.token and (request.url.scheme, host, request.url.port) == (hub.scheme, hub.host, hub.port):
            request.headers["authorization"] = f"Bearer {self._hub.token}"
        elif "authorization" in request.headers and not request.url.userinfo:
            del request.headers["authorization"]


class _Meter:
    def __init__(self, files: tuple[RemoteFile, ...], on_progress: OnProgress | None) -> None:
        self._files = files
        self._on_progress = on_progress
        sizes = [file.size for file in files if not file.optional]
        self._total = None if any(size is None for size in sizes) else sum(size or 0 for size in sizes)
        self._before = 0
        self._count = 0
        self._name = ""

    def begin(self, file: RemoteFile) -> None:
        self._name = file.name

    def here(self, size: int) -> None:
        self._tell(self._before + size)

    def end(self, target: Path) -> None:
        self._before += target.stat().st_size if target.is_file() else 0
        self._count += 1
        self._tell(self._before)

    def _tell(self, done: int) -> None:
        if self._on_progress is not None:
            self._on_progress(
                Progress(file=self._name, done=done, total=self._total, files_done=self._count, files=len(self._files))
            )


def needed_names(variant: Variant) -> tuple[str, ...]:
    """The files of a GGUF variant, the first to load first; none for a folder, whose files only its source knows."""
    if variant.format != "ggufv2":
        return ()
    if variant.uri is not None and (variant.file_name is None or url_name(variant.uri).endswith(".gguf")):
        return (url_name(variant.uri), *variant.projectors)
    names = variant.parts or ((variant.file_name,) if variant.file_name else ())
    return (*names, *variant.projectors)


def _projector(folder: Path, variant: Variant, name: str | None) -> Path | None:
    if name is None:
        name = variant.projectors[0] if variant.projectors else None
    elif name not in variant.projectors:
        there = ", ".join(variant.projectors) or "none"
        raise FetchNotFound(f"{variant.label} has no projector {name}. There are: {there}.")
    if name is None:
        return None
    path = folder / name
    if not path.is_file():
        raise FetchNotFound(f"{path} is not there. Check multimodal_projectors in the spec.")
    return path
