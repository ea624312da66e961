"""The folder with fetched weights: one subfolder a source, each with a note of what it is."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import msgspec

from byom.errors import BadRequest, NotFound
from byom.runtime.fetch.web import url_name
from byom.runtime.specs.forms import Variant
from byom.runtime.specs.places import place_of

_NOTE = ".byom.json"


class CachedModel(msgspec.Struct, frozen=True, kw_only=True):
    key: str
    """The folder's name."""
    source: str
    path: Path
    size_bytes: int
    complete: bool
    files: tuple[Path, ...] = ()


class ModelCache:
    """``<home>/models``. All of it blocks on the disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def place(self, variant: Variant) -> Path:
        """The folder of a variant's source. Variants of one repository share it."""
        return self.folder / cache_key(variant)

    def is_complete(self, variant: Variant, needed: tuple[str, ...]) -> bool:
        """Whether all is here: the named files, or where none are named what was once fetched as a whole."""
        folder = self.place(variant)
        if needed:
            return all((folder / name).is_file() for name in needed)
        note = self._note(folder)
        return bool(note.get("whole")) and all((folder / name).is_file() for name in note.get("files", ()))

    def write_note(self, variant: Variant, names: tuple[str, ...], *, whole: bool) -> None:
        folder = self.place(variant)
        note = self._note(folder)
        known = sorted({*note.get("files", ()), *names})
        text = {"source": source_of(variant), "files": known, "whole": whole or bool(note.get("whole"))}
        temporary = folder / f"{_NOTE}.{os.getpid()}"
        temporary.write_text(json.dumps(text, indent=1), encoding="utf-8")
        temporary.replace(folder / _NOTE)

    def list(self) -> tuple[CachedModel, ...]:
        found = []
        for folder in sorted(self.folder.glob("*")):
            if not folder.is_dir() or folder.name.startswith("."):
                continue
            files = tuple(path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != _NOTE)
            note = self._note(folder)
            found.append(
                CachedModel(
                    key=folder.name,
                    source=str(note.get("source") or folder.name),
                    path=folder,
                    size_bytes=sum(path.stat().st_size for path in files),
                    complete=bool(note) and not any(path.suffix == ".part" for path in files),
                    files=files,
                )
            )
        return tuple(found)

    def remove(self, key: str) -> int:
        """Deletes what was fetched from one source; returns its bytes. Raises `NotFound`."""
        folder = self.folder / key
        if not key or "/" in key or "\\" in key or key.startswith("."):
            raise BadRequest(f"{key!r} is no name of a folder with weights.", param="key")
        cached = next((one for one in self.list() if one.key == key), None)
        if cached is None:
            raise NotFound(f"Nothing was fetched from {key}.")
        shutil.rmtree(folder)
        return cached.size_bytes

    def _note(self, folder: Path) -> dict[str, Any]:
        try:
            value = json.loads((folder / _NOTE).read_bytes())
        except (OSError, ValueError):
            return {}
        return value if isinstance(value, dict) else {}


def source_of(variant: Variant) -> str:
    """For people: ``hf://organisation/name@revision`` or the address, without a query (it may be a signature)."""
    if variant.uri is not None:
        place = place_of(variant.uri)
        if place.kind != "hub":
            return re.sub(r"//[^/@]*@", "//", variant.uri.partition("?")[0])
        return f"hf://{place.where}"
    return f"hf://{variant.model_id}" + (f"@{variant.revision}" if variant.revision else "")


def cache_key(variant: Variant) -> str:
    source = source_of(variant)
    if source.startswith("hf://"):
        return "hf--" + re.sub(r"[^A-Za-z0-9._-]", "--", source.removeprefix("hf://"))
    digest = hashlib.sha256(source.encode()).hexdigest()[:12]
    return f"uri--{re.sub(r'[^A-Za-z0-9._-]', '-', url_name(source))[:80]}--{digest}"
