"""Weights at a plain web address: a file, or a folder whose files have their usual names."""

from __future__ import annotations

import posixpath
import urllib.parse

import httpx2

from byom.runtime.fetch.errors import FetchError, FetchNotFound
from byom.runtime.fetch.files import RemoteFile
from byom.runtime.specs.forms import Variant

_CONFIGURATION = (
    "generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "tokenizer.model",
    "vocab.json", "merges.txt", "vocab.txt", "added_tokens.json", "chat_template.jinja", "preprocessor_config.json",
    "processor_config.json", "modules.json", "1_Pooling/config.json",
)  # fmt: skip
_INDEX = "model.safetensors.index.json"


def url_name(uri: str) -> str:
    """The last part of a URL's path."""
    return posixpath.basename(urllib.parse.unquote(urllib.parse.urlsplit(uri).path)) or "weights"


async def web_files(client: httpx2.AsyncClient, variant: Variant) -> tuple[RemoteFile, ...]:
    """The files of a variant whose ``uri`` is http or https. Raises `FetchError`, `FetchNotFound`."""
    uri = variant.uri or ""
    if variant.format == "ggufv2":
        if variant.file_name is None or urllib.parse.urlsplit(uri).path.endswith(".gguf"):
            names = {url_name(uri): uri}
        else:
            names = {name: _below(uri, name) for name in (variant.parts or (variant.file_name,))}
        names |= {name: _below(uri, name) for name in variant.projectors}
        return tuple(RemoteFile(name=name, url=url, sha256=_digest(variant, name)) for name, url in names.items())
    weights = await _shards(client, uri)
    files = [RemoteFile(name="config.json", url=_below(uri, "config.json"))]
    files += [RemoteFile(name=name, url=_below(uri, name), optional=True) for name in _CONFIGURATION]
    if weights:
        files.append(RemoteFile(name=_INDEX, url=_below(uri, _INDEX)))
    for name in weights or ["model.safetensors"]:
        files.append(RemoteFile(name=name, url=_below(uri, name), sha256=_digest(variant, name)))
    return tuple(files)


async def _shards(client: httpx2.AsyncClient, uri: str) -> list[str]:
    """The files that the index names; none where there is no index."""
    url = _below(uri, _INDEX)
    try:
        answer = await client.get(url)
    except httpx2.TransportError as error:
        raise FetchError(f"{url} cannot be reached: {str(error) or type(error).__name__}.") from error
    if answer.status_code != 200:
        return []
    try:
        names = sorted(set(answer.json()["weight_map"].values()))
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise FetchError(f"{url} is no index of weights.") from error
    if any(not isinstance(name, str) or "/" in name or "\\" in name or name.startswith(".") for name in names):
        raise FetchNotFound(f"{url} names files outside of its folder.")
    return names


def _below(uri: str, name: str) -> str:
    """``name`` in the folder of ``uri``, the query kept (where signed addresses have their signature)."""
    parts = urllib.parse.urlsplit(uri)
    folder = posixpath.dirname(parts.path) if parts.path.endswith(".gguf") else parts.path.rstrip("/")
    return urllib.parse.urlunsplit(parts._replace(path=f"{folder}/{urllib.parse.quote(name)}"))


def _digest(variant: Variant, name: str) -> str | None:
    return variant.checksums.get(name) or variant.checksums.get("*")
