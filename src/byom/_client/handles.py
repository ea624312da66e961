"""The method names of Xinference's client, on BYOM's: a model that is launched, as a handle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from byom.errors import BadRequest

if TYPE_CHECKING:
    from byom._client.aio import AsyncClient
    from byom._client.resources import Fields

_RENAMED = {
    "model_engine": "engine", "model_uid": "uid", "model_size_in_billions": "size", "model_format": "format",
    "replica": "replicas", "n_ctx": "context_length", "max_model_len": "context_length", "envs": "environment",
}  # fmt: skip
_OWN = (
    "model_type", "quantization", "n_gpu", "gpu_idx", "model_path", "wait", "pinned", "idle_unload_seconds", "slots",
    "evict", "context_length", "start_seconds", "engine", "uid", "size", "format", "replicas", "environment",
)  # fmt: skip


def launch_fields(given: Mapping[str, Any]) -> Fields:
    """Fields of a launch from the arguments of ``launch_model``. What is none of them is an argument of the engine."""
    fields: Fields = {}
    arguments: Fields = dict(given.get("engine_arguments") or {})
    for name, value in given.items():
        own = _RENAMED.get(name, name)
        if name == "n_gpu" and value is None:
            fields["n_gpu"] = 0
        elif name == "wait_ready":
            fields["wait"] = bool(value)
        elif value is None or name == "engine_arguments":
            continue
        elif own in _OWN:
            fields[own] = value
        else:
            arguments[name] = value
    if isinstance(fields.get("gpu_idx"), int):
        fields["gpu_idx"] = [fields["gpu_idx"]]
    return fields | ({"engine_arguments": arguments} if arguments else {})


class AsyncModelHandle:
    """A model by its uid. Answers are the JSON objects of the wire."""

    def __init__(self, client: AsyncClient, uid: str, description: Fields) -> None:
        self._client = client
        self.uid = uid
        self.description = description
        """How the model is, as ``client.launches.get`` and ``client.models.get`` have it."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.uid!r})"

    async def generate(self, prompt: str, generate_config: Mapping[str, Any] | None = None) -> Fields:
        """The completion of a prompt. With ``stream`` in the configuration use ``client.complete``."""
        return await self._post("/v1/completions", {"prompt": prompt}, generate_config)

    async def chat(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] | None = None,
        generate_config: Mapping[str, Any] | None = None,
    ) -> Fields:
        body: Fields = {"messages": [dict(one) for one in messages]}
        if tools:
            body["tools"] = [dict(one) for one in tools]
        return await self._post("/v1/chat/completions", body, generate_config)

    async def create_embedding(self, /, input: str | Sequence[str], **params: Any) -> Fields:  # noqa: A002 - its name
        """Vectors of texts."""
        return await self._post("/v1/embeddings", {"input": input}, params)

    async def rerank(
        self, documents: Sequence[str], query: str, top_n: int | None = None, return_documents: bool | None = None
    ) -> Fields:
        """The documents by their relevance to the query."""
        given = {"top_n": top_n, "return_documents": return_documents}
        return await self._post("/v1/rerank", {"documents": list(documents), "query": query}, given)

    async def _post(self, path: str, body: Fields, more: Mapping[str, Any] | None) -> Fields:
        given = {name: value for name, value in (more or {}).items() if value is not None}
        if given.get("stream"):
            raise BadRequest("A handle answers whole. For a stream: client.complete or client.chat with stream=True.")
        found: Fields = await self._client.request("POST", path, {"model": self.uid, **body, **given})
        return found
