"""What names may look like.

A model's name is any text of 1 to 200 printable characters without a space at its ends: the field's names hold
``/ : . - _ @`` and more. A connection's name may moreover hold no ``/`` and no ``:``, because it is the first part of
``connection/model`` and the second of ``custom:<connection>:<model>``, and it is neither ``.`` nor ``..``.
"""

from __future__ import annotations

from byom.errors import ConfigError

LONGEST = 200


def check_name(kind: str, name: str) -> str:
    """``name`` itself. Raises `ConfigError` that says what is wrong with it."""
    problem = _problem(kind, name)
    if problem:
        raise ConfigError(f"{kind} name: {problem}", param="name")
    return name


def _problem(kind: str, name: str) -> str:
    if not name:
        return "it is empty"
    if len(name) > LONGEST:
        return f"it has {len(name)} characters, at most {LONGEST} are allowed"
    if name != name.strip():
        return "it begins or ends with a space"
    if not name.isprintable():
        return "it contains control characters"
    if kind == "connection" and ("/" in name or ":" in name):
        return "it contains '/' or ':', which separate a connection from a model"
    if kind == "connection" and name in (".", ".."):
        return "it is a folder's name, which no address can end with"
    return ""


def aliases(connection: str, model: str) -> tuple[str, str]:
    """The two longer names by which a model of a connection is called."""
    return f"{connection}/{model}", f"custom:{connection}:{model}"
