"""Things that live at an upstream under our key (files, batches, stored responses) belong to the user who made them.

The upstream cannot tell our users apart, so the gateway does: an id may be used by the user whose call made it, and by
administrators. What is not known here, for example after a restart, is denied.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from byom.errors import NotFound, PermissionDenied
from byom.gateway.usage import read_answer

if TYPE_CHECKING:
    from byom.catalog.snapshot import CallerKey
    from byom.gateway.request import CallHead

MAX_KNOWN = 200_000


class _References(msgspec.Struct, gc=False):
    """Fields of a body that name a thing at the upstream."""

    previous_response_id: str | None = None
    conversation: str | msgspec.Raw | None = None
    input_file_id: str | None = None


class Ownership:
    def __init__(self) -> None:
        self._owners: OrderedDict[str, str] = OrderedDict()

    def learn(self, thing: str, user: str) -> None:
        self._owners[thing] = user
        while len(self._owners) > MAX_KNOWN:
            self._owners.popitem(last=False)

    def keeper(self, caller: CallerKey | None) -> Callable[[int, bytes, bytes], None] | None:
        """Learns the id of what a call makes from its answer."""
        if caller is None:
            return None
        user = caller.user_id

        def learn(_status: int, _headers: bytes, body: bytes) -> None:
            answer = read_answer(body)
            if answer is not None and answer.id:
                self.learn(answer.id, user)

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
        if len(parts) == 1:
            if head.method != "POST":
                raise PermissionDenied(f"GET /v1/{parts[0]} would list what belongs to others; it takes an admin key.")
            self.check_body(body, caller)
            return
        self._check(parts[1], caller)

    def check_body(self, body: bytes, caller: CallerKey | None) -> None:
        """Raises when a body refers to a thing of somebody else."""
        if caller is None or caller.role == "admin" or not body.startswith((b"{", b" ", b"\n")):
            return
        try:
            references = msgspec.json.decode(body, type=_References)
        except (msgspec.DecodeError, RecursionError):
            return
        for thing in (references.previous_response_id, references.input_file_id, references.conversation):
            if isinstance(thing, str):
                self._check(thing, caller)

    def _check(self, thing: str, caller: CallerKey) -> None:
        if self._owners.get(thing) != caller.user_id:
            raise NotFound(f"There is no {thing[:100]!r} that belongs to you.")
