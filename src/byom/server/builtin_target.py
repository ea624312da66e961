"""Where the built-in models answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from byom.types.target import Target

if TYPE_CHECKING:
    from byom.host.child import ChildHost


def builtin_target(child: ChildHost) -> Target:
    """Where the calls of a host process go that listens. Raises `Unavailable` when it does not."""
    port = int(child.base_url.rpartition(":")[2].partition("/")[0])
    return Target(
        scheme="http",
        host="127.0.0.1",
        port=port,
        base_path="/v1",
        authorization=f"Bearer {child.token}",
        trusted=True,
    )
