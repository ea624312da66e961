"""Reading a byom.toml: what it may say, and where exactly it is wrong.

    [server]                         # at start only: see `byom.settings`
    [settings]                       # live settings: the fields of SettingsForm
    [connections.NAME]               # the fields of ConnectionForm, and
    key_env = "VAR"                  #   the key from a variable, or key_file = "PATH"; key = "…" works with a warning
    headers_env = { x-api-key = "VAR" }
    models = ["a", "b"]              #   short for [models."a"] with connection = "NAME"
    options.target = "file.py:object" #  for kind = "code": a relative path begins at the folder of byom.toml
    presets.PRESET = { parameter_set = "…", values = { … } }
    [models."NAME"]                  # the fields of ModelForm
    [prices."PATTERN"]               # the fields of PriceForm
    [users.NAME]                     # the fields of UserForm

A section says all about its thing: a field that is not there has its default. Only what was found out about a model
(``abilities``, ``context_window``, ``dimensions``, ``details``) and stored secrets stay when they are not mentioned.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from byom.catalog.code_options import whole_target
from byom.catalog.edits import convert_form
from byom.catalog.forms import ConnectionForm, ModelForm, PresetForm, PriceForm, SettingsForm, UserForm
from byom.catalog.headers import is_credential
from byom.errors import BadRequest, ConfigError, Conflict, NotFound

SECTIONS = ("server", "settings", "connections", "models", "prices", "users")
KEY_WAYS = ("key", "key_env", "key_file")
Result = TypeVar("Result")


class DeclaredConnection(msgspec.Struct, kw_only=True):
    form: ConnectionForm
    """With its key and secret headers, where they are given."""
    sources: dict[str, str]
    """Where secrets come from: ``env:NAME`` or ``file:PATH``, by the secret's stored name."""
    presets: dict[str, PresetForm] = {}

    def __repr__(self) -> str:
        return f"DeclaredConnection({self.form.name!r})"


class DeclaredModel(msgspec.Struct, kw_only=True):
    form: ModelForm
    given: frozenset[str]
    """The fields that are mentioned."""


class Declaration(msgspec.Struct, kw_only=True):
    text: str
    connections: dict[str, DeclaredConnection] = {}
    models: dict[str, DeclaredModel] = {}
    prices: dict[str, PriceForm] = {}
    users: dict[str, UserForm] = {}
    settings: dict[str, Any] = {}
    warnings: list[str] = []

    def __repr__(self) -> str:
        return "Declaration()"


class Places(msgspec.Struct, frozen=True):
    """Where secrets may be taken from."""

    environ: Mapping[str, str]
    files: bool
    folder: str | None = None
    """Of the byom.toml: where the relative paths of code begin."""


def read_declaration(
    text: str, environ: Mapping[str, str] | None = None, *, key_files: bool = False, folder: str | None = None
) -> Declaration:
    """Parse and check each section by itself. Raises `ConfigError` with section, key and line.

    ``key_files``: whether ``key_file`` may be read. Only for a caller who may read this machine's files anyway: a
    remote one could otherwise have any file sent as a key to a host of theirs. ``folder``: that of the byom.toml.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"byom.toml is not valid TOML: {error}") from None
    declaration = Declaration(text=text, warnings=[])
    for section, content in document.items():
        if section not in SECTIONS:
            raise ConfigError(
                f"byom.toml{line_of(text, (section,))}: there is no section [{section}]; "
                f"there are {', '.join(SECTIONS)}",
                param=section,
            )
        if not isinstance(content, dict):
            raise ConfigError(f"byom.toml{line_of(text, (section,))}: {section} must be a section", param=section)
    places = Places(os.environ if environ is None else environ, key_files, folder)
    _read_connections(document.get("connections", {}), declaration, places)
    for name, fields in _tables(document, "models", text):
        _add_model(declaration, name, {"name": name, **fields})
    for name, fields in _tables(document, "users", text):
        declaration.users[name] = _user(text, name, fields)
    for pattern, fields in _tables(document, "prices", text):
        declaration.prices[pattern] = _price(text, pattern, fields)
    declaration.settings = document.get("settings", {})
    located(text, ("settings",), lambda: convert_form(SettingsForm, declaration.settings, "settings"))
    return declaration


def _user(text: str, name: str, fields: dict[str, Any]) -> UserForm:
    return located(text, ("users", name), partial(convert_form, UserForm, {"name": name, **fields}, "user"))


def _price(text: str, pattern: str, fields: dict[str, Any]) -> PriceForm:
    return located(text, ("prices", pattern), partial(convert_form, PriceForm, fields, "price"))


def _tables(document: dict[str, Any], section: str, text: str) -> list[tuple[str, dict[str, Any]]]:
    found = []
    for name, fields in document.get(section, {}).items():
        if not isinstance(fields, dict):
            raise ConfigError(
                f"byom.toml{line_of(text, (section,), name)}: [{section}] {name}: "
                f"write a section [{section}.{_quoted(name)}]",
                param=f"{section}.{name}",
            )
        found.append((name, fields))
    return found


def _read_connections(content: dict[str, Any], declaration: Declaration, places: Places) -> None:
    for name, fields in _tables({"connections": content}, "connections", declaration.text):
        path = ("connections", name)
        declared = located(declaration.text, path, partial(_connection, name, fields, places))
        declaration.connections[name] = declared
        if "key" in fields or any(is_credential(header) for header in fields.get("headers", {})):
            declaration.warnings.append(
                f"[connections.{_quoted(name)}] has a secret in the file; "
                "key_env, key_file and headers_env keep it out of version control"
            )
        for model in located(declaration.text, path, partial(_short_models, fields)):
            _add_model(declaration, model, {"name": model, "connection": name})


def _connection(name: str, fields: dict[str, Any], places: Places) -> DeclaredConnection:
    own = (*KEY_WAYS, "headers_env", "models", "presets")
    whole = {field: value for field, value in fields.items() if field not in own}
    key, sources = _key(fields, places)
    headers = _headers_from_environment(fields, places.environ, sources)
    if headers:
        whole["headers"] = {**whole.get("headers", {}), **headers}
    form = convert_form(ConnectionForm, {"name": name, **whole, "key": key}, "connection")
    target = form.options.get("target")
    if form.kind == "code" and isinstance(target, str):
        options = {**form.options, "target": whole_target(target, places.folder)}
        form = msgspec.structs.replace(form, options=options)
    return DeclaredConnection(form=form, sources=sources, presets=_presets(fields))


def _presets(fields: dict[str, Any]) -> dict[str, PresetForm]:
    given = fields.get("presets", {})
    if not isinstance(given, dict) or not all(isinstance(preset, dict) for preset in given.values()):
        raise ConfigError("presets: expected a table of names and presets", param="presets")
    if any("secrets" in preset for preset in given.values()):
        raise ConfigError("presets: secrets do not belong into this file: give them to byom presets", param="presets")
    return {name: convert_form(PresetForm, {"name": name, **preset}, "preset") for name, preset in given.items()}


def _short_models(fields: dict[str, Any]) -> list[str]:
    names = fields.get("models", [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ConfigError("models: expected a list of names", param="models")
    return names


def _add_model(declaration: Declaration, name: str, fields: dict[str, Any]) -> None:
    path = ("models", name)
    if name in declaration.models:
        raise ConfigError(
            f"byom.toml{line_of(declaration.text, path)}: the model {name!r} is declared twice", param=f"models.{name}"
        )
    form = located(declaration.text, path, lambda: convert_form(ModelForm, fields, "model"))
    declaration.models[name] = DeclaredModel(form=form, given=frozenset(fields))


def _key(fields: dict[str, Any], places: Places) -> tuple[str | None, dict[str, str]]:
    ways = [way for way in KEY_WAYS if way in fields]
    if len(ways) > 1:
        raise ConfigError(f"{ways[1]}: give only one of {', '.join(KEY_WAYS)}", param=ways[1])
    if not ways:
        return None, {}
    value = fields[ways[0]]
    if not isinstance(value, str):
        raise ConfigError(f"{ways[0]}: expected text", param=ways[0])
    if ways[0] == "key":
        return value, {}
    if ways[0] == "key_env":
        return _variable(value, "key_env", places.environ), {"key": f"env:{value}"}
    if not places.files:
        raise ConfigError(
            "key_file: files are only read by byom apply on the hub's machine; use key_env", param="key_file"
        )
    try:
        return Path(value).expanduser().read_text(encoding="utf-8").strip(), {"key": f"file:{value}"}
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ConfigError(f"key_file: {value} cannot be read: {reason}", param="key_file") from None


def _variable(name: str, field: str, environ: Mapping[str, str]) -> str:
    if name.startswith("BYOM_"):
        raise ConfigError(f"{field}: {name} is a setting of the hub, not a key for others", param=field)
    value = environ.get(name)
    if not value:
        raise ConfigError(f"{field}: the environment variable {name} is not set", param=field)
    return value


def _headers_from_environment(
    fields: dict[str, Any], environ: Mapping[str, str], sources: dict[str, str]
) -> dict[str, str]:
    given = fields.get("headers_env", {})
    if not isinstance(given, dict) or not all(isinstance(variable, str) for variable in given.values()):
        raise ConfigError("headers_env: expected a table of header names and variables", param="headers_env")
    for name, variable in given.items():
        sources[f"header:{name.lower()}"] = f"env:{variable}"
    return {name: _variable(variable, "headers_env", environ) for name, variable in given.items()}


def located(text: str, path: tuple[str, ...], work: Callable[[], Result]) -> Result:
    """``work()``, whose errors are told with section, key and line."""
    try:
        return work()
    except (BadRequest, NotFound, Conflict) as error:
        key = (error.param or "").split(".")[0].split("[")[0]
        section = ".".join(_quoted(part) for part in path)
        message = re.sub(r"^(connection|model|user|price|settings): ", "", str(error))
        raise ConfigError(
            f"byom.toml{line_of(text, path, key)}: [{section}] {message}",
            code=error.code,
            param=f"{section}.{error.param}" if error.param else section,
        ) from None


def line_of(text: str, path: tuple[str, ...], key: str = "") -> str:
    """`` line N`` of the key, else of its section; empty where neither stands on a line of its own."""
    section_line, here = 0, False
    for number, line in enumerate(text.splitlines(), 1):
        header = re.match(r"\s*\[([^\[\]].*?)\]\s*(#.*)?$", line)
        if header:
            here = _path(header[1]) == path
            section_line = number if here and not section_line else section_line
        elif here and key and re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*(=|\.)", line):
            return f" line {number}"
    return f" line {section_line}" if section_line else ""


def _path(header: str) -> tuple[str, ...]:
    try:
        level: Any = tomllib.loads(f"[{header}]")
    except tomllib.TOMLDecodeError:
        return ()
    path = []
    while level:
        name, level = next(iter(level.items()))
        path.append(name)
    return tuple(path)


def _quoted(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
