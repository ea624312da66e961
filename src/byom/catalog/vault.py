"""Secrets at rest: Fernet (AES-128-CBC with HMAC-SHA256) under a key that is not in the database.

The key comes from ``BYOM_SECRET_KEY`` or from a file in the home folder (mode 0600). Several keys, with commas or
lines between, are a rotation in progress: the first one encrypts, all of them decrypt. What is encrypted names the
place that the secret is for, so a row that is moved to another connection or another host does not open.
"""

from __future__ import annotations

import base64
import contextlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from byom.errors import ConfigError

if TYPE_CHECKING:
    from cryptography.fernet import MultiFernet


class _Sealed(msgspec.Struct, array_like=True):
    secret: str
    place: str

    def __repr__(self) -> str:
        return "_Sealed()"


class Vault:
    """Encrypts and decrypts. Never prints, never keeps a secret in clear."""

    def __init__(self, key_file: Path, key: str | None = None) -> None:
        self._file = key_file
        self._given = key
        self._keys: tuple[bytes, ...] = ()
        self._fernet: MultiFernet | None = None
        self._seen: tuple[int, int] | None = None
        if key is not None:
            self._keys = _parse(key, "BYOM_SECRET_KEY")

    def __repr__(self) -> str:
        return f"Vault({str(self._file)!r})"

    @property
    def rotatable(self) -> bool:
        """Whether a new key can be written here; with ``BYOM_SECRET_KEY`` whoever sets it makes the new one."""
        return self._given is None

    def prepare(self, secrets_stored: bool) -> None:
        """Have a key. Makes one only while nothing was encrypted yet. Raises `ConfigError` that says what to do."""
        if self._given is not None or self.reload():
            return
        if secrets_stored:
            raise ConfigError(
                f"secrets are stored, but their key is missing: {self._file} does not exist. Restore that file, or set "
                "BYOM_SECRET_KEY to the key that the secrets were stored with. Without it they cannot be read; "
                "to start anew, delete the connections' keys and enter them again.",
                param="secret_key_file",
            )
        _write_new(self._file, _new_key())
        self.reload()

    def reload(self) -> bool:
        """Read the file if it changed since. False when there is none."""
        if self._given is not None:
            return True
        try:
            state = self._file.stat()
            if self._seen != (state.st_ino, state.st_mtime_ns):
                self._keys = _parse(self._file.read_text(encoding="ascii"), str(self._file))
                self._fernet = None
                self._seen = (state.st_ino, state.st_mtime_ns)
        except FileNotFoundError:
            return bool(self._keys)
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"the secret key {self._file} cannot be read", param="secret_key_file") from error
        return True

    def encrypt(self, secret: str, place: str) -> str:
        """Only inside a changing transaction that began with `reload`: no other process rotates the key meanwhile."""
        return self._cipher().encrypt(msgspec.json.encode(_Sealed(secret, place))).decode("ascii")

    def decrypt(self, ciphertext: str, place: str) -> str:
        """Raises `ConfigError` when the key is the wrong one or the secret belongs elsewhere."""
        from cryptography.fernet import InvalidToken

        try:
            opened = self._cipher().decrypt(ciphertext.encode("ascii"))
        except InvalidToken:
            opened = self._decrypt_after_reload(ciphertext)
        sealed = msgspec.json.decode(opened, type=_Sealed)
        if sealed.place != place:
            raise ConfigError("a stored secret belongs to another connection or host; enter it again", param="key")
        return sealed.secret

    def _decrypt_after_reload(self, ciphertext: str) -> bytes:
        """Another process may have rotated the key a moment ago."""
        from cryptography.fernet import InvalidToken

        self.reload()
        try:
            return self._cipher().decrypt(ciphertext.encode("ascii"))
        except InvalidToken:
            where = "BYOM_SECRET_KEY" if self._given is not None else str(self._file)
            raise ConfigError(
                f"the secret key in {where} is not the one that the stored secrets were encrypted with. "
                "Restore the right key (several, with commas between, are all tried), or enter the secrets again.",
                param="secret_key_file",
            ) from None

    def begin_rotation(self) -> None:
        """A new first key, on disk before anything is encrypted with it; the present ones stay behind it."""
        if self._given is None:
            self.reload()
            self._write((_new_key(), *self._keys))

    def end_rotation(self) -> None:
        """Forget all keys but the first. Only after every secret was found to open with it."""
        if self._given is None:
            self._write(self._keys[:1])

    def opens_with_first(self, ciphertext: str) -> bool:
        from cryptography.fernet import Fernet, InvalidToken

        with contextlib.suppress(InvalidToken):
            Fernet(self._keys[0]).decrypt(ciphertext.encode("ascii"))
            return True
        return False

    def _write(self, keys: tuple[bytes, ...]) -> None:
        write_private(self._file, b"\n".join(keys) + b"\n")
        self._seen = None
        self.reload()

    def _cipher(self) -> MultiFernet:
        from cryptography.fernet import Fernet, MultiFernet

        if not self._keys:
            raise ConfigError(f"there is no secret key: {self._file} does not exist", param="secret_key_file")
        if self._fernet is None:
            self._fernet = MultiFernet([Fernet(key) for key in self._keys])
        return self._fernet


def hint_of(secret: str) -> str:
    """The last four characters, unless that would show a good part of it."""
    return secret[-4:] if len(secret) >= 16 else ""


def _new_key() -> bytes:
    return base64.urlsafe_b64encode(os.urandom(32))


def _parse(text: str, where: str) -> tuple[bytes, ...]:
    keys = tuple(part.encode("ascii", "replace") for part in text.replace(",", "\n").split())
    for key in keys:
        try:
            valid = len(base64.b64decode(key, altchars=b"-_", validate=True)) == 32
        except ValueError:
            valid = False
        if not valid:
            raise ConfigError(
                f"{where}: this is not a secret key. A key is 32 random bytes in URL-safe base64 (44 characters), "
                'for example from: python -c "import base64, os; '
                'print(base64.urlsafe_b64encode(os.urandom(32)).decode())"',
                param="secret_key",
            )
    if not keys:
        raise ConfigError(f"{where}: it is empty, there is no secret key in it", param="secret_key")
    return keys


def _write_new(path: Path, key: bytes) -> None:
    """Write the file unless another process was faster: the first one wins, whole."""

    def link(partial: Path) -> None:
        with contextlib.suppress(FileExistsError):
            os.link(partial, path)
        partial.unlink()

    _write_partial(path, key + b"\n", link)


def write_private(path: Path, content: bytes) -> None:
    """Replace a file at once: after a crash it has the old content or the new, never a part. Mode 0600."""
    _write_partial(path, content, lambda partial: partial.replace(path))


def _write_partial(path: Path, content: bytes, finish: Callable[[Path], object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # created with mode 0600
    partial = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        finish(partial)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
