"""Files of a repository on the Hugging Face hub, over its plain HTTP interface."""

from __future__ import annotations

import asyncio
import urllib.parse
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import httpx2
import msgspec

from byom.runtime.fetch.errors import FetchDenied, FetchError, FetchNotFound
from byom.runtime.fetch.files import RemoteFile
from byom.runtime.specs.forms import Variant

DEFAULT_ENDPOINT = "https://huggingface.co"
_SUFFIXES = (".json", ".txt", ".model", ".jinja", ".tiktoken", ".vocab")
_NOT_FROM = ("onnx/", "openvino/", "original/", ".", "coreml/", "flax/")
_ATTEMPTS = 4


class HubSettings(msgspec.Struct, frozen=True, kw_only=True):
    endpoint: str = DEFAULT_ENDPOINT
    token: str | None = None

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> HubSettings:
        """From ``HF_ENDPOINT`` and ``HF_TOKEN``."""
        endpoint = (environ.get("HF_ENDPOINT") or DEFAULT_ENDPOINT).rstrip("/")
        return cls(endpoint=endpoint, token=environ.get("HF_TOKEN") or environ.get("HUGGING_FACE_HUB_TOKEN") or None)

    def __repr__(self) -> str:
        return f"HubSettings(endpoint={self.endpoint!r}, token={'set' if self.token else None})"


async def hub_files(
    client: httpx2.AsyncClient, settings: HubSettings, variant: Variant, *, code: bool = False, pause: float = 1.0
) -> tuple[RemoteFile, ...]:
    """The files that a variant needs, pinned to the commit that its revision means now.

    ``code``: with the Python files of the repository. Raises `FetchNotFound`, `FetchDenied`, `FetchError`.
    """
    model_id, revision = variant.model_id or "", variant.revision or "main"
    quoted = urllib.parse.quote(revision, safe="")
    url = f"{settings.endpoint}/api/models/{model_id}/revision/{quoted}?blobs=true"
    answer = await _get(client, url, model_id, pause)
    commit = str(answer.get("sha") or revision)
    siblings = [entry for entry in answer.get("siblings") or () if isinstance(entry, dict) and entry.get("rfilename")]
    by_name = {str(entry["rfilename"]): entry for entry in siblings}
    names = _gguf(by_name, variant) if variant.format == "ggufv2" else _folder(by_name, variant, code=code)
    return tuple(_remote(settings, model_id, commit, by_name[name], variant) for name in names)


async def _get(client: httpx2.AsyncClient, url: str, model_id: str, pause: float) -> dict[str, Any]:
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            answer = await client.get(url)
        except httpx2.TransportError as error:
            if attempt == _ATTEMPTS:
                raise FetchError(f"{url} cannot be reached: {str(error) or type(error).__name__}.") from error
        else:
            if answer.status_code == 200:
                return _object(answer, url)
            if answer.status_code in (401, 403):
                raise FetchDenied(
                    f"{model_id} is not given to us ({answer.status_code}): it does not exist, or needs a token. "
                    "Set HF_TOKEN to one that may read it, and accept the model's terms on its page."
                )
            if answer.status_code == 404:
                raise FetchNotFound(f"{model_id} is not on the hub, or has no such revision. Check model_id.")
            if (answer.status_code < 500 and answer.status_code != 429) or attempt == _ATTEMPTS:
                raise FetchError(f"{url} answers {answer.status_code}.")
        await asyncio.sleep(pause * 2 ** (attempt - 1))
    raise FetchError(f"{url} cannot be reached.")


def _object(answer: httpx2.Response, url: str) -> dict[str, Any]:
    try:
        value = answer.json()
    except ValueError as error:
        raise FetchError(f"{url} answers something else than JSON. Check HF_ENDPOINT.") from error
    if not isinstance(value, dict):
        raise FetchError(f"{url} answers something else than an object. Check HF_ENDPOINT.")
    return value


def _gguf(by_name: Mapping[str, Any], variant: Variant) -> list[str]:
    wanted = [*(variant.parts or ((variant.file_name,) if variant.file_name else ())), *variant.projectors]
    missing = [name for name in wanted if name not in by_name]
    if missing:
        there = [name for name in by_name if name.endswith(".gguf")]
        listed = ", ".join(there[:20]) or "no GGUF file"
        raise FetchNotFound(f"{variant.model_id} has no file {missing[0]}. It has: {listed}.")
    return wanted


def _folder(by_name: Mapping[str, Any], variant: Variant, *, code: bool) -> list[str]:
    names = [name for name in by_name if _is_safe(name) and not name.startswith(_NOT_FROM)]
    weights = [name for name in names if name.endswith(".safetensors") and "/" not in name]
    weights = _one_kind(weights) or [name for name in names if name.endswith(".bin") and "/" not in name]
    if not weights:
        raise FetchNotFound(f"{variant.model_id} has no weights that BYOM can use: neither *.safetensors nor *.bin.")
    suffixes = (*_SUFFIXES, ".py") if code else _SUFFIXES
    return [name for name in names if name.endswith(suffixes)] + weights


def _one_kind(weights: Sequence[str]) -> list[str]:
    """Those named ``model…`` where there are some: repositories also hold the same weights under another name."""
    return [name for name in weights if name.startswith("model")] or list(weights)


def _is_safe(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and "\\" not in name


def _remote(
    settings: HubSettings, model_id: str, commit: str, entry: Mapping[str, Any], variant: Variant
) -> RemoteFile:
    name = str(entry["rfilename"])
    raw = entry.get("lfs")
    lfs: Mapping[str, Any] = raw if isinstance(raw, dict) else {}
    size = lfs.get("size", entry.get("size"))
    digest = variant.checksums.get(name) or variant.checksums.get("*") or lfs.get("sha256") or lfs.get("oid")
    if not name.endswith((".gguf", ".safetensors", ".bin")) and name not in variant.checksums:
        digest = lfs.get("sha256") or lfs.get("oid")
    return RemoteFile(
        name=name,
        url=f"{settings.endpoint}/{model_id}/resolve/{commit}/{urllib.parse.quote(name)}",
        size=size if isinstance(size, int) else None,
        sha256=str(digest).removeprefix("sha256:") if digest else None,
    )
