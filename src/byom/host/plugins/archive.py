"""Plugins that come as a zip file: unpacked with bounds, and nowhere but where they belong."""

from __future__ import annotations

import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from byom.host.plugins.folder import Plugin, read
from byom.host.plugins.problems import PluginError, Problem

LARGEST = 200 << 20
"""Bytes, unpacked."""
MOST_FILES = 10_000
_PIECE = 1 << 20
_DEVICES = frozenset({"con", "prn", "aux", "nul"})


def unpack(archive: Path, into: Path, *, largest: int = LARGEST, most_files: int = MOST_FILES) -> Path:
    """Unpack a plugin into the new folder ``into``, all or nothing, and return it. Raises `PluginError` for what is no
    zip file or no plugin, names that lead out of the folder, links, and more bytes or files than allowed (what an entry
    says of its size is not believed)."""
    into.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{into.name}-", dir=into.parent))
    try:
        with _opened(archive) as zipped:
            entries = _checked(archive, zipped, most_files)
            left = largest
            for entry, place in entries:
                left = _write(archive, zipped, entry, aside / place, left)
        aside.chmod(0o755)
        if into.exists():
            raise FileExistsError(into)
        aside.rename(into)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return into


def install(archive: Path, home: Path) -> Plugin:
    """Unpack a plugin below ``<home>/plugins``, under its id and digest, so that another version is another folder; one
    that is there already is kept. Raises `PluginError`, also where the plugin cannot be used."""
    folder = home / "plugins"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(prefix=".unpacked-", dir=folder) as aside:
        plugin = read(unpack(archive, Path(aside) / "plugin"))
        place = folder / f"{plugin.id}-{plugin.digest[:12]}"
        if not place.exists():
            plugin.folder.rename(place)
    return read(place)


@contextmanager
def _opened(archive: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(archive) as zipped:
            yield zipped
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise _wrong(archive, f"it cannot be unpacked: {error}.", "Zip the plugin's folder again.") from error


def _checked(archive: Path, zipped: zipfile.ZipFile, most_files: int) -> list[tuple[zipfile.ZipInfo, PurePosixPath]]:
    found = []
    if len(zipped.infolist()) > most_files:
        raise _wrong(archive, f"it has more than {most_files} entries.", "Leave out what is no part of the plugin.")
    seen: set[str] = set()
    for entry in zipped.infolist():
        if entry.is_dir():
            continue
        place = _place(archive, entry)
        if str(place).casefold() in seen:
            raise _wrong(archive, f"{entry.filename!r} is in it twice.", "Zip the plugin's folder again.")
        seen.add(str(place).casefold())
        found.append((entry, place))
    names = {str(place) for _, place in found}
    if "plugin.json" not in names:
        below = sorted(name for name in names if name.count("/") == 1 and name.endswith("/plugin.json"))
        what = f"plugin.json is at {below[0]!r}" if below else "there is no plugin.json in it"
        raise _wrong(archive, f"{what}.", "Zip the content of the plugin's folder, so that plugin.json is at the root.")
    return found


def _place(archive: Path, entry: zipfile.ZipInfo) -> PurePosixPath:
    name = entry.filename
    place = PurePosixPath(name)
    mode = entry.external_attr >> 16
    outside = place.is_absolute() or ".." in place.parts or "\\" in name or "\0" in name or ":" in name
    if outside or not place.parts or any(part.split(".")[0].casefold() in _DEVICES for part in place.parts):
        raise _wrong(archive, f"the name {name!r} leads out of the folder.", "It is refused: do not trust this file.")
    if mode and not stat.S_ISREG(mode) and stat.S_IFMT(mode):
        raise _wrong(archive, f"{name!r} is a link or a device.", "Zip the files themselves.")
    if entry.flag_bits & 0x1:
        raise _wrong(archive, "it is encrypted.", "Zip the plugin without a password.")
    return place


def _write(archive: Path, zipped: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path, left: int) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipped.open(entry) as source, path.open("xb") as file:
            while piece := source.read(_PIECE):
                left -= len(piece)
                if left < 0:
                    raise _wrong(archive, "it is too large unpacked.", "Leave out what is no part of the plugin.")
                file.write(piece)
    except (FileExistsError, NotADirectoryError):
        raise _wrong(archive, f"{entry.filename!r} is a file and a folder.", "Zip the plugin's folder again.") from None
    path.chmod(0o644)  # nothing in a plugin is run as a program
    return left


def _wrong(archive: Path, message: str, mend: str) -> PluginError:
    return PluginError([Problem(file=archive.name, message=message, mend=mend)])
