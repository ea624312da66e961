"""Where the calls go of models that a host process serves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from byom.types.target import Target

if TYPE_CHECKING:
    from byom.host.child import ChildHost


def host_target(child: ChildHost, *, tell_user: bool = False) -> Target:
    """The place of a process that listens. Raises `Unavailable` when it does not."""
    port = int(child.base_url.rpartition(":")[2].partition("/")[0])
    return Target(
        scheme="http",
        host="127.0.0.1",
        port=port,
        base_path="/v1",
        authorization=f"Bearer {child.token}",
        trusted=True,
        tell_user=tell_user,
    )
