"""Names of specs and of launched models."""

from __future__ import annotations

import re

LONGEST = 200
_LONGEST_BYTES = 240  # with .json it is a file name
_FORBIDDEN = "+/?%#&=\\"
_REPLICA = re.compile(r"-rep\d+$")


def name_problem(name: str) -> tuple[str, str] | None:
    """What is wrong with it, and the mend; ``None`` where nothing is."""
    if not name:
        return "is empty", "Give a name such as my-model-7b"
    wrong = sorted({char for char in name if char in _FORBIDDEN or char.isspace() or not char.isprintable()})
    if wrong:
        which = " ".join("space" if char == " " else repr(char)[1:-1] for char in wrong)
        return (
            f"holds {which}",
            f"Names stand in URLs: leave out {' '.join(_FORBIDDEN)} spaces and control characters",
        )
    if name in (".", ".."):
        return f"is {name!r}, a folder's name", "Give a name such as my-model-7b"
    if len(name) > LONGEST or len(name.encode()) > _LONGEST_BYTES:
        return f"has {len(name)} characters", f"At most {LONGEST} characters ({_LONGEST_BYTES} bytes) are allowed"
    if _REPLICA.search(name):
        return "ends like the name of a replica (-rep and a number)", "Choose another ending"
    return None
