"""Typed settings of a hub: flags before ``BYOM_*`` variables before ``[server]`` of byom.toml before defaults.

These take effect at start. What can change while the hub runs lives in the catalog (`byom.catalog.hub_settings`).
Read with msgspec alone: pydantic-settings would cost 150 ms of every start.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from byom.errors import ConfigError

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")


class Settings(msgspec.Struct, kw_only=True, frozen=True):
    """All settings, checked. Each has a flag ``--name`` where `byom serve` offers it, and a variable ``BYOM_NAME``."""

    home: Annotated[Path, Meta(description="a folder; it is created with mode 0700")]
    host: Annotated[str, Meta(min_length=1, description="an address to listen on, such as 127.0.0.1 or 0.0.0.0")] = (
        "127.0.0.1"
    )
    port: Annotated[int, Meta(ge=0, le=65535, description="a TCP port; 0 picks a free one")] = 8420
    workers: Annotated[int, Meta(ge=1, le=256, description="a number of processes from 1 to 256")] = 1
    database_url: Annotated[str, Meta(description="sqlite:///path or postgresql://user:password@host/name")] = ""
    no_auth: Annotated[bool, Meta(description="true or false; only with a loopback host")] = False
    secret_key_file: Annotated[Path | None, Meta(description="a path; by default secret.key in home")] = None
    secret_key: Annotated[str | None, Meta(description="one or several Fernet keys, with commas between")] = None
    log_format: Annotated[Literal["text", "json"], Meta(description="text or json")] = "text"
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="debug, info, warning or error")
    ] = "info"
    trusted_hosts: Annotated[
        tuple[str, ...], Meta(description="host names with commas between; * accepts every Host header")
    ] = ()
    """Accepted in the ``Host`` header besides loopback names and ``host`` itself."""
    max_body_bytes: Annotated[int, Meta(ge=1024, description="a number of bytes, 1024 or more")] = 16 * 1024 * 1024
    """For the management API; that of ``/v1`` is a live setting."""
    ssl_certfile: Annotated[Path | None, Meta(description="a PEM file with the certificate chain")] = None
    """With it the hub serves https."""
    ssl_keyfile: Annotated[Path | None, Meta(description="a PEM file with the private key")] = None
    drain_seconds: Annotated[float, Meta(ge=0, description="a number of seconds, 0 or more")] = 30.0
    """How long open calls may go on after the hub was told to stop."""
    ledger_days: Annotated[int, Meta(ge=0, le=36_500, description="a number of days; 0 keeps them for ever")] = 0
    """How long the ledger keeps single calls. The sums by hour, which usage and budgets need, stay."""
    engines: Annotated[
        dict[str, str], Meta(description="names of engines and the python of the environment that has each: vllm=/path")
    ] = {}
    """Engines that are installed in environments of their own: by name, the interpreter of each."""
    agentstudio_images: Annotated[Path | None, Meta(description="a folder")] = None
    """Callers of the AgentStudio dialect may name image files in it by their path. By default they name none."""
    agentstudio_keep_alive: Annotated[float, Meta(ge=0, description="a number of seconds; 0 sends nothing")] = 0.0
    """Silence after which a waiting AgentStudio client is sent a space, so that no proxy cuts the connection."""

    @property
    def database(self) -> str:
        """The database's URL, with the default filled in."""
        return self.database_url or f"sqlite:///{self.home / 'byom.db'}"

    @property
    def key_file(self) -> Path:
        return self.secret_key_file or self.home / "secret.key"

    @property
    def admin_key_file(self) -> Path:
        return self.home / "admin.key"

    def __repr__(self) -> str:
        return f"Settings(home={str(self.home)!r}, host={self.host!r}, port={self.port})"


def load_settings(
    flags: Mapping[str, Any] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    config: Path | None = None,
) -> Settings:
    """Read the settings from all their places.

    ``flags``: values by setting name; ``None`` means not given. ``config``: byom.toml; by default ``BYOM_CONFIG``, else
    ``byom.toml`` in the home folder where it exists. Raises `ConfigError` naming the setting and what is allowed.
    """
    environ = os.environ if environ is None else environ
    given = {name: value for name, value in (flags or {}).items() if value is not None}
    home = Path(given.get("home") or environ.get("BYOM_HOME") or "~/.byom").expanduser().absolute()
    origin = {name: f"--{name.replace('_', '-')}" for name in given}
    values: dict[str, Any] = _read_server_section(_config_path(config, environ, home))
    file_origin = dict.fromkeys(values, "byom.toml [server]")
    from_environment = _read_environment(environ)
    environment_origin = {name: f"BYOM_{name.upper()}" for name in from_environment}
    values = values | from_environment | given | {"home": home}
    return _check(values, file_origin | environment_origin | origin)


def is_loopback(host: str) -> bool:
    """Whether ``host`` can only be reached from this machine."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _config_path(config: Path | None, environ: Mapping[str, str], home: Path) -> Path | None:
    named = config or (Path(environ["BYOM_CONFIG"]) if environ.get("BYOM_CONFIG") else None)
    if named is not None and not named.is_file():
        raise ConfigError(f"the configuration file {named} does not exist", param="config")
    default = home / "byom.toml"
    return named or (default if default.is_file() else None)


def _read_server_section(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    import tomllib

    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}", param="config") from error
    section = document.get("server", {})
    if not isinstance(section, dict):
        raise ConfigError(f"{path}: [server] must be a table", param="server")
    if "secret_key" in section:
        raise ConfigError(
            f"{path}: [server] secret_key does not belong into a file that is shared: "
            "use BYOM_SECRET_KEY or secret_key_file",
            param="secret_key",
        )
    return dict(section)


def _read_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for field in msgspec.structs.fields(Settings):
        text = environ.get(f"BYOM_{field.name.upper()}")
        if text is None or text == "" or field.name == "home":
            continue
        found[field.name] = text
    return found


def _check(values: dict[str, Any], origin: Mapping[str, str]) -> Settings:
    known = {field.name: field for field in msgspec.structs.fields(Settings)}
    checked: dict[str, Any] = {}
    for name, value in values.items():
        if name not in known:
            raise ConfigError(_unknown(name, list(known), origin.get(name, "")), param=name)
        checked[name] = _convert(name, value, known[name].type, origin.get(name, ""))
    settings = Settings(**checked)
    if settings.no_auth and not is_loopback(settings.host):
        raise ConfigError(
            "setting no_auth is only allowed on a loopback host: without keys everybody who reaches "
            f"{settings.host} could use the models. Use host 127.0.0.1, or leave no_auth out.",
            param="no_auth",
        )
    if settings.database_url and not settings.database_url.startswith(("sqlite:", "postgresql:")):
        raise ConfigError(
            "setting database_url: allowed is sqlite:///path or postgresql://user:password@host/name",
            param="database_url",
        )
    return settings


def _convert(name: str, value: Any, kind: Any, origin: str) -> Any:
    """One value in its type. The value itself stays out of the message: it may hold a password."""
    if isinstance(value, str) and name == "trusted_hosts":
        value = [part.strip() for part in value.split(",") if part.strip()]
    if isinstance(value, str) and name == "engines":
        pairs = [part.partition("=") for part in value.split(",") if part.strip()]
        value = {engine.strip(): python.strip() for engine, _, python in pairs}
    if isinstance(value, Path):
        value = str(value)
    try:
        converted = msgspec.convert(value, kind, strict=False, dec_hook=_path)
    except msgspec.ValidationError as error:
        where = f" (from {origin})" if origin else ""
        allowed = next((meta.description for meta in kind.__metadata__ if meta.description), "")
        raise ConfigError(f"setting {name}{where} is not valid. Allowed: {allowed}.", param=name) from error
    return converted.expanduser().absolute() if isinstance(converted, Path) else converted


def _path(kind: type, value: Any) -> Any:
    if kind is Path and isinstance(value, str):
        return Path(value)
    raise NotImplementedError(kind)


def _unknown(name: str, known: list[str], origin: str) -> str:
    import difflib

    near = difflib.get_close_matches(name, known, 1)
    hint = f" Did you mean {near[0]}?" if near else f" There are: {', '.join(known)}."
    return f"{origin or 'settings'}: there is no setting {name}.{hint}"
