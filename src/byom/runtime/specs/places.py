"""Where weights are: the forms that ``model_uri`` may have."""

from __future__ import annotations

import importlib
import re
import urllib.parse
from pathlib import Path
from typing import NamedTuple

from byom.runtime.specs.problems import Problems

_HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?")
_WINDOWS = re.compile(r"[A-Za-z]:[\\/]")
PACKAGES = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "abfs": "adlfs", "az": "adlfs", "adl": "adlfs"}


class Place(NamedTuple):
    kind: str
    """``local``, ``http``, ``hub`` or ``fsspec``."""
    where: str
    """A path, a URL, or an id on the hub."""


def place_of(uri: str) -> Place:
    """What a ``model_uri`` means. Raises ValueError, with a text for its reader, where it means nothing."""
    scheme, separator, rest = uri.partition("://")
    if not separator:
        if uri.startswith("file:"):
            raise ValueError("a file URI has three slashes: file:///folder/file")
        if not Path(uri).expanduser().is_absolute():
            if _WINDOWS.match(uri):
                raise ValueError("it is a path of Windows, and this machine is another one")
            raise ValueError("it is a relative path; a hub runs in another folder than you: give the absolute path")
        return Place("local", str(Path(uri).expanduser()))
    scheme = scheme.lower()
    if scheme == "file":
        parts = urllib.parse.urlsplit(uri)
        if parts.netloc not in ("", "localhost"):
            raise ValueError(f"it names the machine {parts.netloc}; a file URI of this machine has three slashes")
        return Place("local", urllib.parse.unquote(parts.path))
    if scheme in ("http", "https"):
        if not urllib.parse.urlsplit(uri).hostname:
            raise ValueError("it names no host")
        return Place("http", uri)
    if scheme in ("hf", "huggingface"):
        return Place("hub", rest.strip("/"))
    if not rest:
        raise ValueError("nothing follows the scheme")
    return Place("fsspec", uri)


def check_place(uri: str, path: str, problems: Problems) -> Place | None:
    """The place, where it can be used on this machine: local ones exist, others have what fetches them."""
    try:
        place = place_of(uri)
    except ValueError as error:
        problems.add(path, f"is {uri!r}: {error}", "Allowed are paths, file://, http(s)://, hf:// and those of fsspec")
        return None
    if place.kind == "local" and not Path(place.where).exists():
        problems.add(path, f"names {place.where}, which does not exist here", "Give the path on the hub's machine")
        return None
    if place.kind == "hub" and hub_id_problem(place.where):
        problems.add(path, f"is {uri!r}: {hub_id_problem(place.where)}", "Write hf://organisation/name")
        return None
    if place.kind == "fsspec" and (missing := _fsspec_problem(place.where.partition("://")[0].lower())):
        problems.add(path, f"is {uri!r}: {missing[0]}", missing[1])
        return None
    return place


def hub_id_problem(model_id: str) -> str | None:
    if not _HUB_ID.fullmatch(model_id) or ".." in model_id:
        return "an id on the hub is organisation/name, of letters, digits, dots, dashes and underscores"
    return None


def _fsspec_problem(scheme: str) -> tuple[str, str] | None:
    package = PACKAGES.get(scheme)
    try:
        fsspec = importlib.import_module("fsspec")
    except ImportError:
        also = f" {package}" if package else ""
        return f"{scheme}:// needs an optional package", f"Install it with: pip install 'byom[remote]'{also}"
    try:
        fsspec.get_filesystem_class(scheme)
    except ImportError as error:
        return f"{scheme}:// needs a package ({error})", f"Install it with: pip install {package or 'that package'}"
    except ValueError:
        return f"the scheme {scheme} is not known", "Allowed are paths, file://, http(s)://, hf:// and those of fsspec"
    return None
