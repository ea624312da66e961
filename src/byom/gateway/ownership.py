"""Things that live at an upstream under our key (files, batches, stored responses) belong to the user who made them.

The upstream cannot tell our users apart, so the gateway does: an id may be used by the user whose call made it, and by
administrators. What is not known here, for example after a restart, is denied.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec

from byom.errors import BadRequest, NotFound, PermissionDenied

if TYPE_CHECKING:
    from byom.catalog.snapshot import CallerKey
    from byom.gateway.request import CallHead

MAX_KNOWN = 200_000
_REFERENCES = frozenset(
    {
        "assistant_id",
        "batch_id",
        "container",
        "conversation",
        "file_id",
        "file_ids",
        "input_file_id",
        "previous_response_id",
        "response_id",
        "thread_id",
        "training_file",
        "upload_id",
        "validation_file",
        "vector_store_id",
        "vector_store_ids",
    }
)
"""Fields of a body, wherever in it, that name a thing at the upstream."""

_OPAQUE = frozenset({"metadata", "parameters", "schema"})
"""Fields whose contents are the caller's own, whatever names they have."""


class _Made(msgspec.Struct, gc=False):
    """What an answer says was made: itself, and for a batch its results."""

    id: str | None = None
    output_file_id: str | None = None
    error_file_id: str | None = None


class Ownership:
    def __init__(self) -> None:
        self._owners: OrderedDict[str, str] = OrderedDict()
        self.tell: Callable[[str, str], None] | None = None
        """Told of what this process learns from answers: for siblings that serve the same callers."""

    def learn(self, thing: str, user: str) -> None:
        """The first one who is seen with it owns it: an administrator's look at it changes nothing."""
        self._owners.setdefault(thing, user)
        self._owners.move_to_end(thing)
        while len(self._owners) > MAX_KNOWN:
            self._owners.popitem(last=False)

    def made(self, thing: str | None, user: str) -> None:
        """An answer to this user's call names this thing."""
        if thing and thing not in self._owners:
            self.learn(thing, user)
            if self.tell is not None:
                self.tell(thing, user)

    def newest(self, count: int) -> list[tuple[str, str]]:
        """The things learned last, and their users; oldest first."""
        return list(islice(reversed(self._owners.items()), count))[::-1]

    def keeper(self, caller: CallerKey | None) -> Callable[[int, bytes, bytes], None] | None:
        """Learns the id of what a call makes from its answer."""
        if caller is None:
            return None
        user = caller.user_id

        def learn(_status: int, _headers: bytes, body: bytes) -> None:
            try:
                made = msgspec.json.decode(body, type=_Made)
            except (msgspec.DecodeError, RecursionError):
                return
            for thing in (made.id, made.output_file_id, made.error_file_id):
                self.made(thing, user)

        return learn

    def check_path(self, head: CallHead, body: bytes, caller: CallerKey) -> None:
        """Raises when the path names a thing of somebody else, or asks for a list of everybody's."""
        if caller.role == "admin":
            return
        parts = head.path.split("/")
        if caller.models is not None or any(scope.limits.budgets for scope in caller.scopes):
            raise PermissionDenied(
                f"/v1/{parts[0]} can spend without naming a model, so a key with a list of models or a budget "
                "cannot use it. Ask for a key without them."
            )
        if len(parts) > 1:
            self._check(parts[1], caller)
        elif head.method != "POST":
            raise PermissionDenied(f"GET /v1/{parts[0]} would list what belongs to others; it takes an admin key.")
        if body and not head.content_type.lower().startswith("multipart/form-data"):
            self.check_body(body, caller)

    def check_body(self, body: bytes, caller: CallerKey | None) -> None:
        """Raises when a JSON body refers to a thing of somebody else, or is not JSON."""
        if caller is None or caller.role == "admin":
            return
        try:
            parsed = _decode(body)
        except (msgspec.DecodeError, RecursionError) as error:
            raise BadRequest(f"The request body is not valid JSON: {error}", code="invalid_json") from error
        for thing in _references(parsed):
            self._check(thing, caller)

    def _check(self, thing: str, caller: CallerKey) -> None:
        if self._owners.get(thing) != caller.user_id:
            raise NotFound(f"There is no {thing[:100]!r} that belongs to you.")


_decode = msgspec.json.Decoder(float_hook=str).decode
"""Numbers are of no interest here, so one too large for a float is no reason to refuse a body."""


def _references(parsed: Any) -> Iterator[str]:
    """Every id that a body names. Without recursion: how deeply it is nested is the caller's choice."""
    left = [parsed]
    while left:
        value = left.pop()
        if isinstance(value, list):
            left += value
        if not isinstance(value, dict):
            continue
        if value.get("type") == "item_reference":
            yield str(value.get("id"))
        for name, inner in value.items():
            if name in _REFERENCES:
                yield from _ids(inner)
            if name not in _OPAQUE:
                left.append(inner)


def _ids(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        yield from (item for item in value if isinstance(item, str))
    elif isinstance(value, dict) and isinstance(value.get("id"), str):
        yield value["id"]
