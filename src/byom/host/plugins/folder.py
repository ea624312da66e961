"""A plugin's folder, read: its manifest, its models, its parameter sets, its code environment."""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from byom.host.plugins.classes import Classes, classes_in
from byom.host.plugins.loose_json import Document, LooseJsonError, parse
from byom.host.plugins.parameters import Parameter, read_parameters
from byom.host.plugins.problems import Findings, PluginError, Problem

MODELS = "python-llms"
PARAMETER_SETS = "parameter-sets"
CODE_ENV = Path("code-env/python")
LARGEST_DESCRIPTOR = 1 << 20
"""Bytes"""
NOT_CONTENT = {"__pycache__", ".git", ".venv", ".pytest_cache", ".mypy_cache", ".ruff_cache", ".DS_Store"}
_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")
_INTERPRETER = re.compile(r"PYTHON(\d)(\d+)")


class Component(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of model that the plugin brings: the folder ``python-llms/<id>``."""

    id: str
    label: str
    description: str = ""
    parameters: tuple[Parameter, ...] = ()
    abilities: tuple[str, ...] = ()
    """Of ``chat``, ``embed``, ``rerank``, as the classes in ``llm.py`` show; empty where only running it would tell."""
    choices_script: str | None = None


class ParameterSet(msgspec.Struct, frozen=True, kw_only=True):
    """Fields that a preset fills in: the folder ``parameter-sets/<id>``."""

    id: str
    label: str
    description: str = ""
    inline: bool = True
    """Whether a model may have its own values instead of a preset's."""
    parameters: tuple[Parameter, ...] = ()
    plugin_parameters: tuple[Parameter, ...] = ()
    """Those that only administrators fill in and see."""

    @property
    def credentials(self) -> tuple[Parameter, ...]:
        return tuple(one for one in self.parameters if one.type == "CREDENTIAL_REQUEST")


class CodeEnv(msgspec.Struct, frozen=True, kw_only=True):
    """What the plugin's code needs to run."""

    requirements: str
    """Text of requirements.txt."""
    folder: Path
    """Where requirements.txt stands; paths in it are relative to this."""
    interpreters: tuple[str, ...] = ()
    """Versions that are accepted, such as ``3.11``; empty: any."""


class Plugin(msgspec.Struct, frozen=True, kw_only=True):
    folder: Path
    id: str
    version: str
    label: str
    description: str = ""
    author: str = ""
    url: str = ""
    licence: str = ""
    parameters: tuple[Parameter, ...] = ()
    components: tuple[Component, ...] = ()
    parameter_sets: tuple[ParameterSet, ...] = ()
    code_env: CodeEnv | None = None
    digest: str = ""
    """SHA-256 of its content: names and bytes of its files."""
    warnings: tuple[Problem, ...] = ()

    def component(self, name: str | None) -> Component:
        """By its id; without one, the only one. Raises `PluginError`."""
        if name is None and len(self.components) == 1:
            return self.components[0]
        for one in self.components:
            if one.id == name:
                return one
        known = ", ".join(one.id for one in self.components)
        message = f"there is no component {name!r}." if name else "it has several components."
        raise PluginError([Problem(file=MODELS, message=message, mend=f"Choose one of: {known}.")])

    def parameter_set(self, name: str) -> ParameterSet:
        """Raises `KeyError`: `read` has made sure that those in use are there."""
        return {one.id: one for one in self.parameter_sets}[name]


def read(folder: Path | str) -> Plugin:
    """Raises `PluginError` with every problem that keeps the plugin from being used. Reads, and runs nothing."""
    plugin, findings = examine(folder)
    findings.raise_errors()
    assert plugin is not None
    return plugin


def examine(folder: Path | str) -> tuple[Plugin | None, Findings]:
    """The plugin as far as it can be read, and all that is wrong with it."""
    folder = Path(folder).absolute()
    findings = Findings()
    if not (folder / "plugin.json").is_file():
        findings.error("plugin.json", _no_manifest(folder), "A plugin's folder has it at its root.")
        return None, findings
    manifest = _descriptor(folder, "plugin.json", findings)
    if manifest is None:
        return None, findings
    parameters = read_parameters(manifest, ("params",), "plugin.json", findings)
    sets = tuple(_parameter_sets(folder, findings))
    components = tuple(_components(folder, findings))
    _check_presets(components, parameters, sets, findings)
    meta = _meta(manifest)
    plugin = Plugin(
        folder=folder,
        id=_plugin_id(manifest, findings),
        version=_version(manifest, findings),
        label=_text(meta, "label") or str(manifest.value.get("id", folder.name)),
        description=_text(meta, "description"),
        author=_text(meta, "author"),
        url=_text(meta, "url"),
        licence=_text(meta, "licenseInfo"),
        parameters=parameters,
        components=components,
        parameter_sets=sets,
        code_env=_code_env(folder, findings),
        digest=digest_of(folder),
        warnings=tuple(one for one in findings.all if one.level == "warning"),
    )
    return plugin, findings


def digest_of(folder: Path) -> str:
    """SHA-256 over relative names and content of the plugin's files, caches left out."""
    digest = hashlib.sha256()
    for path in sorted(_files(folder), key=lambda one: one.relative_to(folder).as_posix()):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(folder).as_posix()}\0{content}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _files(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.name in NOT_CONTENT or path.suffix == ".pyc":
            continue
        if path.is_dir() and not path.is_symlink():
            yield from _files(path)
        elif path.is_file():
            yield path


def _no_manifest(folder: Path) -> str:
    if not folder.is_dir():
        return f"{folder} is no folder." if folder.exists() else f"there is no folder {folder}."
    below = sorted(path.parent.name for path in folder.glob("*/plugin.json"))
    return f"it is missing in {folder}" + (f"; did you mean its folder {below[0]}?" if below else ".")


def _descriptor(folder: Path, name: str, findings: Findings) -> Document | None:
    path = folder / name
    try:
        if path.stat().st_size > LARGEST_DESCRIPTOR:
            findings.error(name, "it is larger than 1 MiB.", "A descriptor is short: take the data out of it.")
            return None
        document = parse(path.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError as error:
        findings.error(name, f"it is not UTF-8 (byte {error.start}).", "Save it as UTF-8.")
        return None
    except LooseJsonError as error:
        findings.error(name, f"{error.message}.", line=error.line)
        return None
    if not isinstance(document.value, dict):
        findings.error(name, "it is no JSON object.", "Write it as {…}.", line=1)
        return None
    return document


def _plugin_id(manifest: Document, findings: Findings) -> str:
    found = manifest.value.get("id")
    if isinstance(found, str) and _ID.fullmatch(found):
        return found
    message = "it has no id." if found is None else f"the id {found!r} is not allowed."
    findings.error("plugin.json", message, 'Add "id" with letters, digits, - and _.', line=manifest.line("id"))
    return "?"


def _version(manifest: Document, findings: Findings) -> str:
    found = manifest.value.get("version")
    if isinstance(found, str) and found:
        return found
    findings.warning("plugin.json", "it has no version.", 'Add "version": "1.0.0".', line=manifest.line("version"))
    return "0.0.0"


def _parameter_sets(folder: Path, findings: Findings) -> Iterator[ParameterSet]:
    for path in sorted((folder / PARAMETER_SETS).glob("*/parameter-set.json")):
        name = path.relative_to(folder).as_posix()
        document = _descriptor(folder, name, findings)
        if document is None:
            continue
        meta = _meta(document)
        yield ParameterSet(
            id=path.parent.name,
            label=_text(meta, "label") or path.parent.name,
            description=_text(meta, "description"),
            inline=document.value.get("defaultDefinableInline") is not False,
            parameters=read_parameters(document, ("params",), name, findings),
            plugin_parameters=read_parameters(document, ("pluginParams",), name, findings),
        )


def _components(folder: Path, findings: Findings) -> Iterator[Component]:
    found = sorted(path for path in (folder / MODELS).glob("*") if path.is_dir() and path.name not in NOT_CONTENT)
    if not found:
        others = sorted(path.name for path in folder.glob("*") if path.is_dir() and path.name.startswith("java-llms"))
        message = "it holds models in Java, which are not supported." if others else "the plugin has no model."
        findings.error(others[0] if others else MODELS, message, f"Write {MODELS}/NAME/llm.json and llm.py.")
    for path in found:
        component = _component(folder, path, findings)
        if component is not None:
            yield component


def _component(folder: Path, path: Path, findings: Findings) -> Component | None:
    name = path.relative_to(folder).as_posix()
    if not (path / "llm.json").is_file():
        findings.error(f"{name}/llm.json", "it is missing.", 'Write at least {"meta": {"label": "…"}, "params": []}.')
        return None
    document = _descriptor(folder, f"{name}/llm.json", findings)
    classes = _classes(path / "llm.py", f"{name}/llm.py", findings)
    if document is None:
        return None
    meta = _meta(document)
    parameters = read_parameters(document, ("params",), f"{name}/llm.json", findings)
    for one in parameters:
        if one.type == "CREDENTIAL_REQUEST":
            findings.error(
                f"{name}/llm.json", f"{one.name} requests a credential, which only a parameter set can do.",
                f"Move it to {PARAMETER_SETS}/NAME/parameter-set.json and use a PRESET here.", line=one.line,
            )  # fmt: skip
    script = document.value.get("paramsPythonSetup")
    return Component(
        id=path.name,
        label=_text(meta, "label") or path.name,
        description=_text(meta, "description"),
        parameters=parameters,
        abilities=classes.abilities,
        choices_script=script if isinstance(script, str) else None,
    )


def _classes(path: Path, name: str, findings: Findings) -> Classes:
    if not path.is_file():
        findings.error(name, "it is missing.", "Write a class that is derived from dataiku.llm.python.BaseLLM in it.")
        return Classes()
    try:
        tree = ast.parse(path.read_bytes(), name)
    except (SyntaxError, ValueError) as error:
        message = error.msg if isinstance(error, SyntaxError) else str(error)
        findings.error(name, f"it is no Python: {message}.", line=getattr(error, "lineno", None) or 0)
        return Classes()
    found = classes_in(tree)
    for line, message, mend in found.problems:
        findings.error(name, message, mend, line=line)
    return found


def _check_presets(
    components: tuple[Component, ...],
    parameters: tuple[Parameter, ...],
    sets: tuple[ParameterSet, ...],
    findings: Findings,
) -> None:
    known = {one.id for one in sets}
    for file, declared in [("plugin.json", parameters)] + [
        (f"{MODELS}/{one.id}/llm.json", one.parameters) for one in components
    ]:
        for one in declared:
            if one.parameter_set is not None and one.parameter_set not in known:
                findings.error(
                    file, f"{one.name} is of the parameter set {one.parameter_set!r}, which is not there.",
                    f"Write {PARAMETER_SETS}/{one.parameter_set}/parameter-set.json"
                    + (f", or use one of: {', '.join(sorted(known))}." if known else "."), line=one.line,
                )  # fmt: skip


def _code_env(folder: Path, findings: Findings) -> CodeEnv | None:
    """The code environment; ``None`` for plugins that need none beside Python itself."""
    spec = folder / CODE_ENV / "spec" / "requirements.txt"
    description = folder / CODE_ENV / "desc.json"
    if not spec.is_file() and not description.is_file():
        return None
    accepted: Any = []
    if description.is_file():
        document = _descriptor(folder, (CODE_ENV / "desc.json").as_posix(), findings)
        accepted = document.value.get("acceptedPythonInterpreters", []) if document else []
    versions = [_INTERPRETER.fullmatch(str(one)) for one in accepted] if isinstance(accepted, list) else []
    return CodeEnv(
        requirements=spec.read_text(encoding="utf-8-sig") if spec.is_file() else "",
        folder=spec.parent,
        interpreters=tuple(f"{one[1]}.{one[2]}" for one in versions if one),
    )


def _meta(document: Document) -> dict[str, Any]:
    meta = document.value.get("meta")
    return meta if isinstance(meta, dict) else {}


def _text(meta: dict[str, Any], name: str) -> str:
    value = meta.get(name)
    return value.strip() if isinstance(value, str) else ""
