"""Embeddings, rerank, models, transcriptions and everything else, in OpenAI's form."""

from __future__ import annotations

import base64
import hashlib
import struct
from email import message_from_bytes
from email.message import Message
from typing import Any

from byom.testing.behavior import Behavior
from byom.testing.records import RecordedRequest


def embeddings_body(behavior: Behavior, request: dict[str, Any]) -> dict[str, Any]:
    """Vectors made from a digest of each input: equal texts have equal vectors."""
    given = request.get("input", "")
    inputs: list[Any] = given if isinstance(given, list) and not _is_tokens(given) else [given]
    size = request.get("dimensions") or behavior.dimensions
    vectors = [text_vector(str(item), size) for item in inputs]
    tokens = sum(len(item) if isinstance(item, list) else len(str(item).split()) for item in inputs)
    as_base64 = request.get("encoding_format") == "base64"
    body: dict[str, Any] = {
        "object": "list",
        "model": request.get("model") or "fake-model",
        "data": [
            {"object": "embedding", "index": index, "embedding": _packed(vector) if as_base64 else vector}
            for index, vector in enumerate(vectors)
        ],
        **behavior.extra,
    }
    if behavior.usage != "none":
        counted = tokens if behavior.prompt_tokens is None else behavior.prompt_tokens
        body["usage"] = {"prompt_tokens": counted, "total_tokens": counted}
    return body


def _is_tokens(given: list[Any]) -> bool:
    return bool(given) and all(isinstance(item, int) for item in given)


def text_vector(text: str, size: int) -> list[float]:
    seed = hashlib.shake_128(text.encode("utf-8", "surrogatepass")).digest(size * 2)
    raw = [value / 65535 - 0.5 for value in struct.unpack(f"<{size}H", seed)]
    length = sum(value * value for value in raw) ** 0.5 or 1.0
    return [value / length for value in raw]


def _packed(vector: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def rerank_body(behavior: Behavior, request: dict[str, Any], number: int) -> dict[str, Any]:
    """Scores by the share of the query's words that a document has."""
    words = set(str(request.get("query", "")).lower().split())
    scored = []
    for index, document in enumerate(request.get("documents") or []):
        text = str(document.get("text", "") if isinstance(document, dict) else document)
        found = words & set(text.lower().split())
        item: dict[str, Any] = {"index": index, "relevance_score": len(found) / max(1, len(words))}
        if request.get("return_documents"):
            item["document"] = {"text": text}
        scored.append(item)
    scored.sort(key=lambda item: -float(item["relevance_score"]))
    top = request.get("top_n") or len(scored)
    body = {
        "id": f"rerank-fake-{number}",
        "model": request.get("model") or "fake-model",
        "results": scored[:top],
        **behavior.extra,
    }
    if behavior.usage != "none":
        body["usage"] = {"total_tokens": behavior.prompt_tokens or len(words)}
    return body


def models_body(names: tuple[str, ...]) -> dict[str, Any]:
    return {"object": "list", "data": [model_body(name) for name in names]}


def model_body(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 1_700_000_000, "owned_by": "fake"}


def multipart_fields(request: RecordedRequest) -> dict[str, str | bytes]:
    """The parts of a form: text fields as text, files as bytes. Empty where the body is not a form."""
    kind = request.header("content-type") or ""
    if not kind.startswith("multipart/form-data"):
        return {}
    parsed = message_from_bytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + request.body)
    found: dict[str, str | bytes] = {}
    parts = parsed.get_payload()
    for part in parts if isinstance(parts, list) else ():
        if not isinstance(part, Message):
            continue
        name = part.get_param("name", header="content-disposition")
        content = part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(content, bytes):
            found[name] = content if part.get_filename() else content.decode("utf-8", "replace")
    return found


def transcription_body(behavior: Behavior, request: RecordedRequest) -> dict[str, Any]:
    """Says how many bytes of audio arrived, so that a test sees that the upload came through whole."""
    audio = multipart_fields(request).get("file", b"")
    text = behavior.text if behavior.text is not None else f"audio of {len(audio)} bytes"
    return {"text": text, **behavior.extra}


def echo_body(request: RecordedRequest) -> dict[str, Any]:
    return {
        "object": "echo",
        "method": request.method,
        "path": request.path,
        "query": request.query,
        "body_bytes": len(request.body),
        "body_sha256": hashlib.sha256(request.body).hexdigest(),
    }
