"""Further headers of a connection, and which of them are credentials."""

from __future__ import annotations

import re
from collections.abc import Mapping

from byom.errors import ConfigError

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_CREDENTIAL = re.compile(r"auth|key|token|secret|cookie|passw|credential|signature|session")
_OWN = frozenset({
    "accept-encoding", "connection", "content-encoding", "content-length", "content-type", "expect", "host",
    "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
})  # fmt: skip


def is_credential(name: str) -> bool:
    """Whether a header's value is to be kept as a secret, judging by its name. In doubt it is."""
    return _CREDENTIAL.search(name.lower()) is not None


def split(headers: Mapping[str, str | None]) -> tuple[dict[str, str | None], dict[str, str | None]]:
    """Checked, lower-case: the plain ones and the secret ones. ``None`` takes a header out.

    Raises `ConfigError` that never shows a value.
    """
    plain: dict[str, str | None] = {}
    secret: dict[str, str | None] = {}
    for given, value in headers.items():
        name = given.strip().lower()
        if not _TOKEN.fullmatch(name):
            raise ConfigError("headers: a header's name may only hold letters, digits and -_.", param="headers")
        if name in _OWN:
            raise ConfigError(f"headers: {name} is set by the hub itself", param=f"headers.{name}")
        if value is not None and not _VALUE.fullmatch(value):
            raise ConfigError(f"headers: the value of {name} holds control characters", param=f"headers.{name}")
        (secret if is_credential(name) else plain)[name] = value
    return plain, secret


def clean_key(key: str) -> str:
    """A pasted key without what was pasted around it. Raises `ConfigError` that never shows it."""
    cleaned = key.strip().strip("\"'")
    if cleaned.lower().startswith("bearer "):
        cleaned = cleaned[7:].strip()
    if not cleaned:
        raise ConfigError("key: it is empty; leave it out for a server that needs none", param="key")
    if not cleaned.isascii() or not cleaned.isprintable() or " " in cleaned:
        raise ConfigError("key: it holds spaces or characters that no key has; paste it again", param="key")
    return cleaned
