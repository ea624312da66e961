"""Parameters as descriptors declare them."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from byom.host.plugins.loose_json import Document, Path
from byom.host.plugins.problems import Findings

TEXTS = frozenset({"STRING", "TEXTAREA", "PASSWORD", "DATE", "SELECT", "LLM", "CONNECTION"})
LISTS = frozenset({"STRINGS", "INTS", "DOUBLES", "MULTISELECT", "CONNECTIONS"})
TABLES = frozenset({"OBJECT_LIST", "ARRAY"})
REFERENCES = frozenset({
    "API_SERVICE", "API_SERVICE_VERSION", "BUNDLE", "CLUSTER", "CODE_ENV", "COLUMN", "DATASET", "DATASET_COLUMN",
    "KNOWLEDGE_BANK", "MANAGED_FOLDER", "ML_TASK", "MODEL_EVALUATION_STORE", "PLUGIN", "PROJECT", "SAVED_MODEL",
    "SCENARIO", "VISUAL_ANALYSIS",
})  # fmt: skip
"""Ids of things that a hub does not have: kept as the text that was entered."""
KNOWN = TEXTS | LISTS | TABLES | REFERENCES | {
    "INT", "DOUBLE", "BOOLEAN", "MAP", "KEY_VALUE_LIST", "PRESET", "PRESETS", "CREDENTIAL_REQUEST", "SEPARATOR",
    "DATASETS", "COLUMNS", "DATASET_COLUMNS",
}  # fmt: skip
CREDENTIAL_TYPES = ("SINGLE_FIELD", "BASIC", "OAUTH2")
_NAME = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*")


class Choice(msgspec.Struct, frozen=True):
    value: str
    label: str


class Parameter(msgspec.Struct, frozen=True, kw_only=True):
    """One field that a person fills in."""

    name: str
    type: str
    label: str
    description: str = ""
    default: Any = None
    required: bool = False
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[Choice, ...] = ()
    """Empty where a script of the plugin makes them: any text is taken then."""
    duplicates: bool = True
    fields: tuple[Parameter, ...] = ()
    """Columns of an OBJECT_LIST or ARRAY."""
    parameter_set: str | None = None
    """Of a PRESET or PRESETS."""
    credential: str | None = None
    """Of a CREDENTIAL_REQUEST: SINGLE_FIELD, BASIC or OAUTH2."""
    visible_if: str | bool | None = None
    """JavaScript over ``model.<name>``, as declared; only forms read it. Without it the field is always shown."""
    line: int = 0

    @property
    def secret(self) -> bool:
        return self.type in ("PASSWORD", "CREDENTIAL_REQUEST")


def read_parameters(document: Document, path: Path, file: str, findings: Findings) -> tuple[Parameter, ...]:
    """The parameters at ``path`` of a descriptor. What is wrong goes to ``findings``, and is left out."""
    declared = _at(document.value, path)
    if declared is None:
        return ()
    if not isinstance(declared, list):
        findings.error(file, f"{path[-1]} is no list.", "Write it as [{…}, …].", line=document.line(*path))
        return ()
    found: list[Parameter] = []
    for place in range(len(declared)):
        parameter = _Declaration(document, (*path, place), file, findings).read()
        if parameter is not None:
            found.append(parameter)
    return tuple(found)


class _Declaration:
    """Reads one parameter."""

    def __init__(self, document: Document, path: Path, file: str, findings: Findings) -> None:
        self.document = document
        self.path = path
        self.file = file
        self.findings = findings
        self.given = _at(document.value, path)

    def read(self) -> Parameter | None:
        if not isinstance(self.given, dict):
            return self._wrong("a parameter is an object with type and name.", "Write {…}.")
        kind = self.given.get("type")
        if not isinstance(kind, str) or not kind:
            return self._wrong("this parameter has no type.", 'Add "type": "STRING", or another type.')
        kind = kind.upper()
        if kind == "SEPARATOR":
            return Parameter(
                name="", type=kind, label=self._text("label"), description=self._text("description"),
                visible_if=self._visibility(), line=self._line(),
            )  # fmt: skip
        name = self.given.get("name")
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            return self._wrong(
                f"{name!r} is no name of a parameter." if name else f"this {kind} has no name.",
                'Add "name" with letters, digits and _, not beginning with a digit.', "name",
            )  # fmt: skip
        if kind not in KNOWN:
            self.findings.warning(
                self.file, f"{name} has the type {kind}, which is not known: it is treated as text.",
                line=self._line("type"),
            )  # fmt: skip
        return self._parameter(kind, name)

    def _parameter(self, kind: str, name: str) -> Parameter | None:
        parameter_set = self.given.get("parameterSetId")
        if kind in ("PRESET", "PRESETS") and not isinstance(parameter_set, str):
            return self._wrong(
                f"{name} does not say of which parameter set it is.",
                'Add "parameterSetId": the name of a folder in parameter-sets.',
            )
        credential = self._credential(kind, name)
        low, high = ("minI", "maxI") if kind in ("INT", "INTS") else ("minD", "maxD")
        return Parameter(
            name=name,
            type=kind,
            label=self._text("label") or name,
            description=self._text("description"),
            default=self.given.get("defaultValue"),
            required=self.given.get("mandatory") is True,
            minimum=self._number(low),
            maximum=self._number(high),
            choices=self._choices(kind, name),
            duplicates=self.given.get("allowDuplicates") is not False,
            fields=read_parameters(self.document, (*self.path, "subParams"), self.file, self.findings),
            parameter_set=parameter_set if isinstance(parameter_set, str) else None,
            credential=credential,
            visible_if=self._visibility(),
            line=self._line(),
        )

    def _credential(self, kind: str, name: str) -> str | None:
        if kind != "CREDENTIAL_REQUEST":
            return None
        settings = self.given.get("credentialRequestSettings")
        wanted = str((settings if isinstance(settings, dict) else {}).get("type", "SINGLE_FIELD")).upper()
        if wanted not in CREDENTIAL_TYPES:
            self.findings.error(
                self.file, f"{name} requests a credential of type {wanted}.",
                f"Use one of {', '.join(CREDENTIAL_TYPES)}.", line=self._line("credentialRequestSettings", "type"),
            )  # fmt: skip
        return wanted

    def _choices(self, kind: str, name: str) -> tuple[Choice, ...]:
        declared = self.given.get("selectChoices") or self.given.get("choices")
        if kind not in ("SELECT", "MULTISELECT"):
            return ()
        if declared is None and self.given.get("getChoicesFromPython"):
            return ()
        if not isinstance(declared, list) or not declared:
            self.findings.error(
                self.file, f"{name} is a {kind} with nothing to choose from.",
                'Add "selectChoices": [{"value": "a", "label": "A"}, …].', line=self._line("selectChoices"),
            )  # fmt: skip
            return ()
        pairs = [one if isinstance(one, dict) else {"value": one} for one in declared]
        return tuple(Choice(str(one.get("value", "")), str(one.get("label") or one.get("value", ""))) for one in pairs)

    def _visibility(self) -> str | bool | None:
        condition = self.given.get("visibilityCondition")
        return condition if isinstance(condition, str | bool) else None

    def _text(self, name: str) -> str:
        value = self.given.get(name)
        return value if isinstance(value, str) else ""

    def _number(self, name: str) -> float | None:
        value = self.given.get(name)
        return value if isinstance(value, int | float) and not isinstance(value, bool) else None

    def _line(self, *below: str | int) -> int:
        return self.document.line(*self.path, *below)

    def _wrong(self, message: str, mend: str, *below: str) -> Parameter | None:
        self.findings.error(self.file, message, mend, line=self._line(*below))
        return None


def _at(value: Any, path: Path) -> Any:
    for step in path:
        value = value.get(step) if isinstance(value, dict) else value[step] if isinstance(value, list) else None  # type: ignore[index]
    return value
