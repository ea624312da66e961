"""What plugin code answers to texts to embed and documents to rank, whatever shape it comes in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..contract import CallError, Embedded, Ranked
from .plugin_answer import usage_of
from .plugin_plain import as_mapping, as_text, as_vector


class OneByOne(Exception):
    """The plugin takes one text at a time."""


def embedded(result: Any, expected: int) -> Embedded:
    """Raises `CallError` where vectors are missing, and `OneByOne` where there is one for several texts."""
    fields = as_mapping(result)
    rows: Any = result
    if fields is not None:
        if "embedding" in fields:
            if expected != 1:
                raise OneByOne
            rows = [fields["embedding"]]
        else:
            rows = fields.get("responses", fields.get("embeddings", fields.get("data")))
    if rows is None or isinstance(rows, (str, bytes)):
        raise CallError("the plugin's answer has no vectors: return {'responses': [{'embedding': […]}, …]}")
    vectors = [_vector(row, place) for place, row in enumerate(rows)]
    if len(vectors) != expected:
        raise CallError(f"the plugin gave {len(vectors)} vectors for {expected} texts")
    if len({len(vector) for vector in vectors}) > 1:
        raise CallError("the plugin's vectors differ in length")
    return {"vectors": vectors, "usage": usage_of(fields or {})}


def together(parts: Sequence[Embedded]) -> Embedded:
    """Answers to single texts as one answer; what was used is added up where every part tells it."""
    usage: dict[str, Any] = {}
    for name in ("prompt_tokens",):
        counts = [part["usage"].get(name) for part in parts]
        if counts and None not in counts:
            usage[name] = sum(counts)
    return {"vectors": [vector for part in parts for vector in part["vectors"]], "usage": usage}


def _vector(row: Any, place: int) -> list[float]:
    fields = as_mapping(row)
    value = row
    if fields is not None:
        if fields.get("embedding") is None:
            raise CallError(f"text {place}: {as_text(fields.get('errorMessage')) or 'the plugin gave no vector'}")
        value = fields["embedding"]
    try:
        vector = as_vector(value)
    except (TypeError, ValueError):
        raise CallError(f"text {place}: its embedding is a {type(value).__name__} and no list of numbers") from None
    if not vector:
        raise CallError(f"text {place}: its embedding is empty")
    return vector


def ranked(result: Any, expected: int) -> Ranked:
    """Raises `CallError` for indices that no document has, and for scores that are no numbers."""
    fields = as_mapping(result)
    rows = (fields.get("documents", fields.get("results")) if fields is not None else result) or []
    documents = []
    for row in rows:
        found = as_mapping(row) or {}
        index = found.get("index")
        score = next((found[n] for n in ("relevanceScore", "relevance_score", "score") if n in found), None)
        if not isinstance(index, int) or not 0 <= index < expected or not _is_number(score):
            raise CallError(
                f"the plugin's ranking has {dict(found)!s:.200}:"
                f" it takes 'index' (0 to {expected - 1}) and 'relevanceScore'"
            )
        documents.append({"index": index, "score": float(score)})  # type: ignore[arg-type]
    if expected and not documents:
        raise CallError("the plugin's answer has no 'documents'")
    documents.sort(key=lambda one: -one["score"])
    usage = usage_of(fields) if isinstance(fields, Mapping) else {}
    return {"documents": documents, "usage": usage}


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value == value
