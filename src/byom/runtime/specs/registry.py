"""The specs of a hub: registered ones in memory or on disk, and those that come with BYOM."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import tempfile
import threading
import urllib.parse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from byom.errors import Conflict, NotFound
from byom.runtime.specs.forms import KINDS, Kind, ModelSpec, Reading
from byom.runtime.specs.problems import SpecInvalid
from byom.runtime.specs.read import normal_kind, read_spec
from byom.runtime.specs.render import render_spec, to_builtin

_log = logging.getLogger("byom.runtime.specs")
PACKAGED = Path(__file__).parent.parent / "guide"


class SpecRegistry:
    """Specs by kind and name. Any thread may call it; what touches the disk blocks.

    On disk each is ``<home>/specs/<kind>/<name>.json``. A file that cannot be read as a spec is left where it is and
    told in ``broken``.
    """

    def __init__(self, folder: Path, *, packaged: Path | None = PACKAGED) -> None:
        self._folder = folder
        self._lock = threading.RLock()
        self._specs: dict[tuple[Kind, str], ModelSpec] = {}
        self._persisted: set[tuple[Kind, str]] = set()
        self.broken: dict[Path, str] = {}
        """Files that are no specs, and why."""
        if packaged is not None:
            self._load_packaged(packaged)
        self._load()

    # --- reading

    def get(self, kind: str, name: str) -> ModelSpec:
        """Raises `NotFound`, naming what is near."""
        found = self.find(kind, name)
        if found is None:
            import difflib

            names = [spec.name for spec in self.list(kind)]
            near = difflib.get_close_matches(name, names, 1)
            hint = f" Did you mean {near[0]}?" if near else " Register a spec of this name first."
            what = f"Model {name} not found: no {normal_kind(kind)} spec has that name.{hint}"
            raise NotFound(what, param="model_name")
        return found

    def find(self, kind: str, name: str) -> ModelSpec | None:
        with self._lock:
            return self._specs.get((normal_kind(kind), name))

    def list(self, kind: str | None = None) -> tuple[ModelSpec, ...]:
        """By lower-case name."""
        wanted = None if kind is None else normal_kind(kind)
        with self._lock:
            found = [spec for spec in self._specs.values() if wanted in (None, spec.kind)]
        return tuple(sorted(found, key=lambda spec: (spec.name.lower(), spec.kind)))

    def is_persisted(self, kind: str, name: str) -> bool:
        with self._lock:
            return (normal_kind(kind), name) in self._persisted

    # --- changing

    def register(
        self,
        document: str | bytes | Mapping[str, Any],
        kind: str | None = None,
        *,
        persist: bool = True,
        replace: bool = False,
    ) -> Reading:
        """Adds a spec, or with ``replace`` puts it in the place of the one of its name; a refused one changes nothing.

        Raises `SpecInvalid`, `Conflict` where the name is taken.
        """
        reading = read_spec(document, kind)
        spec = reading.spec
        key = (spec.kind, spec.name)
        with self._lock:
            present = self._specs.get(key)
            if present is not None and present.builtin:
                what = f"Model name conflicts with existing model: {spec.name} comes with BYOM."
                raise Conflict(what, param="model_name")
            if present is not None and not replace:
                raise Conflict(
                    f"Model {spec.name} already registered. Register it with replace, or unregister it first.",
                    param="model_name",
                )
            if persist:
                self._write(spec)
                self._persisted.add(key)
            elif key in self._persisted:
                self._path(*key).unlink(missing_ok=True)
                self._persisted.discard(key)
            self._specs[key] = spec
        return reading

    def unregister(self, kind: str, name: str) -> bool:
        """Whether there was one. What runs from it runs on. Raises `Conflict` for one that comes with BYOM."""
        key = (normal_kind(kind), name)
        with self._lock:
            present = self._specs.get(key)
            if present is None:
                return False
            if present.builtin:
                raise Conflict(f"{name} comes with BYOM and cannot be unregistered.", param="model_name")
            if key in self._persisted:
                self._path(*key).unlink(missing_ok=True)
                self._persisted.discard(key)
            del self._specs[key]
        return True

    # --- disk

    def _path(self, kind: Kind, name: str) -> Path:
        return self._folder / kind / f"{urllib.parse.quote(name, safe=_SAFE)}.json"

    def _write(self, spec: ModelSpec) -> None:
        path = self._path(spec.kind, spec.name)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        text = json.dumps(render_spec(spec), indent=2, ensure_ascii=False) + "\n"
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".new")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
            raise

    def _load(self) -> None:
        for kind in KINDS:
            for path in sorted((self._folder / kind).glob("*.json")):
                if path.name.startswith("."):
                    continue
                try:
                    # Files may have gone since: that is said at launch, not by forgetting the spec.
                    spec = read_spec(path.read_bytes(), kind, check_files=False).spec
                except (SpecInvalid, OSError) as error:
                    self.broken[path] = str(error)
                    _log.warning("%s is left out: %s", path, error)
                    continue
                if (kind, spec.name) in self._specs:
                    self.broken[path] = f"The name {spec.name} is taken."
                    continue
                self._specs[(kind, spec.name)] = spec
                self._persisted.add((kind, spec.name))

    def _load_packaged(self, folder: Path) -> None:
        for path in sorted(folder.glob("*.json")):
            document = json.loads(path.read_bytes())
            if "model_specs" not in document:
                continue  # facts about the weights, beside their spec
            for entry in document.get("model_specs", ()):
                uri = entry.get("model_uri")
                if isinstance(uri, str) and "://" not in uri and not uri.startswith("/"):
                    entry["model_uri"] = str(folder / uri)
            spec = to_builtin(read_spec(document, check_files=False).spec)
            self._specs[(spec.kind, spec.name)] = spec


_SAFE = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '/\\%<>:"|?*') + " "
