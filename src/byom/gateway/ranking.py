"""``/v1/rerank`` as Xinference's clients ask and are answered: told by ``max_chunks_per_doc``, which they always send.

Servers answer a list ``results`` (or ``data``) of ``index`` and a score, in any order, with what they please beside it.
These clients read ``id``, ``results`` by falling score, each with its ``document`` where that was asked for, and
``meta``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from byom.ledger.request_id import new_id

if TYPE_CHECKING:
    from byom.gateway.request import Downstream

_MARK = b'"max_chunks_per_doc"'
_OWN = frozenset({"kwargs", "max_chunks_per_doc", "return_documents", "return_len"})
"""Fields of these clients that no server of another kind knows."""


def is_xinference(body: bytes) -> bool:
    return body.find(_MARK) >= 0


def translated(body: bytes, down: Downstream) -> tuple[bytes, Downstream]:
    """The request in the form that every server knows, and a way for its answer back."""
    try:
        fields: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return body, down
    if not isinstance(fields, dict) or not isinstance(fields.get("documents"), list):
        return body, down
    asked = {name: value for name, value in fields.items() if value is not None and name not in _OWN}
    return msgspec.json.encode(asked), _Answer(down, fields)


class _Answer:
    """A `Downstream` that holds an answer back until it is whole."""

    writable = True

    def __init__(self, down: Downstream, asked: dict[str, Any]) -> None:
        self._down = down
        self._asked = asked
        self._status = 0
        self._headers = b""
        self._parts: list[bytes] = []

    def respond(self, status: int, headers: bytes, body: bytes) -> None:
        self._down.respond(status, headers, self._told(body) if status == 200 else body)

    def start(self, status: int, headers: bytes, length: int | None) -> None:  # noqa: ARG002 - it becomes another one
        self._status, self._headers = status, headers

    def write(self, data: bytes) -> None:
        self._parts.append(data)

    def finish(self, *, close: bool = False) -> None:  # noqa: ARG002 - a whole answer needs no closing
        self.respond(self._status, self._headers, b"".join(self._parts))

    def abort(self) -> None:
        self._down.abort()

    def _told(self, body: bytes) -> bytes:
        """As it came where it is no ranking."""
        try:
            answer: Any = msgspec.json.decode(body)
        except (msgspec.DecodeError, RecursionError):
            return body
        items = (answer.get("results") or answer.get("data")) if isinstance(answer, dict) else None
        if not isinstance(items, list):
            return body
        found = [one for one in map(self._item, items) if one is not None]
        found.sort(key=lambda one: -one["relevance_score"])
        most = self._asked.get("top_n")
        results = found[:most] if isinstance(most, int) and most > 0 else found
        meta = {"api_version": None, "billed_units": None, "tokens": self._tokens(answer), "warnings": None}
        return msgspec.json.encode({"id": str(answer.get("id") or new_id()), "results": results, "meta": meta})

    def _item(self, item: Any) -> dict[str, Any] | None:
        documents = self._asked["documents"]
        index = item.get("index") if isinstance(item, dict) else None
        score = item.get("relevance_score", item.get("score")) if isinstance(item, dict) else None
        if not isinstance(index, int) or not 0 <= index < len(documents) or not isinstance(score, int | float):
            return None
        document = documents[index] if self._asked.get("return_documents") else None
        if isinstance(document, str):
            document = {"text": document}
        return {"index": index, "relevance_score": float(score), "document": document}

    def _tokens(self, answer: dict[str, Any]) -> dict[str, int] | None:
        usage = answer.get("usage")
        if not self._asked.get("return_len") or not isinstance(usage, dict):
            return None
        prompt = usage.get("prompt_tokens", usage.get("total_tokens"))
        return {"input_tokens": prompt, "output_tokens": 0} if isinstance(prompt, int) else None
