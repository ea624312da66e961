"""Fills the parts of the pages that come from code: ``python -m tests.docs.generated``.

A part stands between ``<!-- generated: NAME -->`` and ``<!-- end -->``; `PARTS` has one function for each name.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import sys
import tomllib
from collections.abc import Callable, Iterable
from decimal import Decimal
from importlib import metadata
from itertools import pairwise
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

ROOT = Path(__file__).parents[2]
PART = re.compile(r"<!-- generated: ([\w.-]+) -->\n.*?<!-- end -->", re.DOTALL)


def pages() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def filled(text: str) -> str:
    """The page with its generated parts as they are now."""
    return PART.sub(lambda part: f"<!-- generated: {part[1]} -->\n{PARTS[part[1]]()}\n<!-- end -->", text)


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    lines += [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]
    return "\n".join(lines)


# --- texts under attributes


def attribute_texts(kind: type) -> dict[str, str]:
    """The string that stands under each attribute in the class's source."""
    tree = ast.parse(inspect.getsource(kind))
    body = tree.body[0].body  # type: ignore[attr-defined]
    found = {}
    for field, text in pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
            found[field.target.id] = one_line(str(text.value.value))  # type: ignore[union-attr]
    return found


def one_line(text: str) -> str:
    return " ".join(text.replace("``", "`").split())


def default_of(field: Any) -> str:
    if field.default is not msgspec.NODEFAULT:
        return _shown(field.default)
    if field.default_factory is not msgspec.NODEFAULT:
        return _shown(field.default_factory())
    return "required"


def _shown(value: Any) -> str:
    if value in (None, "", (), {}, []):
        return "—"
    if isinstance(value, msgspec.Struct):
        return "see below"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value}`"


NAMES = {str: "text", bool: "true or false", int: "whole number", float: "number", Decimal: "dollars", Any: "any"}


def type_of(kind: Any) -> str:
    """A type as a reader of byom.toml thinks of it."""
    origin, inner = get_origin(kind), [one for one in get_args(kind) if one is not type(None)]
    if origin is Annotated:
        return type_of(inner[0])
    if origin is Literal:
        return " or ".join(f"`{one}`" for one in inner)
    if origin in (Union, UnionType):
        return ", or ".join(type_of(one) for one in inner)
    if origin in (tuple, list, frozenset):
        kinds = [type_of(one) for one in inner if one is not Ellipsis]
        return f"list of {kinds[0]}" if Ellipsis in inner or len(kinds) == 1 else f"[{', '.join(kinds)}]"
    if origin is dict:
        return "table"
    name: str = getattr(kind, "__name__", str(kind))
    return NAMES.get(kind) or SECTIONS.get(name) or name


SECTIONS = {"Timeouts": "[time-outs](#time-outs)", "Retry": "[retries](#retries)", "Circuit": "[circuit](#circuit)",
            "LimitsForm": "[limits](#limits)", "PriceForm": "[price](#price)", "CachePolicy": "[cache](#cache)",
            "Window": "window", "BudgetForm": "budget"}  # fmt: skip


# --- parts


def settings() -> str:
    from byom.settings import Settings

    texts = attribute_texts(Settings)

    def row(field: Any) -> tuple[str, ...]:
        allowed = re.search(r"description='([^']*)'", str(field.type))
        parts = [allowed[1] if allowed else "", texts.get(field.name, "")]
        default = "`~/.byom`" if field.name == "home" else default_of(field)
        return (
            f"`{field.name}`",
            f"`BYOM_{field.name.upper()}`",
            default,
            ". ".join(part.rstrip(".") for part in parts if part),
        )

    return table(
        ("Setting", "Variable", "Default", "Meaning"), [row(field) for field in msgspec.structs.fields(Settings)]
    )


def live_settings() -> str:
    from byom.catalog.forms import SettingsForm
    from byom.catalog.snapshot import GatewaySettings

    texts = attribute_texts(GatewaySettings) | {
        "max_body_bytes": "Bytes of a request's body below `/v1`; more is a 413",
        "unauthenticated_limits": "Limits of everybody together on a hub without keys (`--no-auth`)",
        "idempotency_seconds": "How long the answer to an `Idempotency-Key` is kept",
        "cache_bytes": "Memory for response caches, of all models together",
        "network": "Which addresses endpoints may have: see the table of the network policy",
    }
    rows = [(f"`{f.name}`", default_of(f), texts.get(f.name, "")) for f in msgspec.structs.fields(SettingsForm)]
    return table(("Setting", "Default", "Meaning"), rows)


FIELD_TEXTS = {
    "kind": "`endpoint`: an OpenAI-compatible server. The others are reserved for models that run here",
    "timeouts": "How long its server may take",
    "retry": "When and how often an attempt that failed is made again",
    "circuit": "When a failing server is left alone",
    "limits": "What may be used of it",
    "verify_tls": "Check the server's certificate. Switching it off is in the audit log",
    "ca_file": "PEM file of an authority of your own, on the hub's machine",
    "streaming": "`native`: its server streams; `none`: it does not, and streams are made of whole answers",
    "stream_usage": "`ask`: streams are asked for their usage; `never`: for servers that refuse that",
    "missing_usage": "When the server does not say what was used: estimate it, fail the call, or count nothing",
    "max_tokens_field": "The one of the two names of this field that the server knows",
    "enabled": "Whether it can be called",
    "connection": "The connection it belongs to",
    "context_window": "Tokens",
    "dimensions": "Length of its vectors",
    "fallbacks": "Models to try, in order, when this one fails before its first byte",
    "cache": "Keep answers for equal calls; off without it",
    "requests_per_minute": "In any 60 seconds",
    "tokens_per_minute": "Prompt and answer together, in any 60 seconds",
    "concurrency": "Calls at the same time",
    "budget": "`{amount = \"5.00\", period = \"month\"}`, or several; periods: hour, day, week, month, total (UTC)",
    "base_delay": "Seconds before the first retry; doubled each time, with jitter",
    "max_delay": "Seconds; the longest pause",
    "input": "Tokens of prompts",
    "output": "Tokens of answers",
    "cached_input": "Prompt tokens that the server had cached",
    "cache_write": "Prompt tokens that the server writes to its cache",
    "audio_input": "Audio tokens of prompts",
    "audio_output": "Audio tokens of answers",
    "request": "Dollars for each call",
    "failures": "Failed attempts in a row that open it; 0: never",
    "seconds": "How long",
    "allow_loopback": "This machine",
    "allow_private": "Private networks",
    "allow_public": "The internet",
    "deny_hosts": "Never these hosts or networks",
    "role": "`admin` also opens the management API",
    "user": "Whose it is",
    "at": "When it began",
    "upstream_model": "The name that the model's server knows",
    "state": "What became of it",
    "error": "Code of the error; empty on success",
    "stream": "Whether the caller asked for a stream",
    "estimated": "Tokens are an estimate: the server did not say",
    "cost": "Picodollars; nothing where the price is not known",
    "price_version": "Which price it was",
    "latency": "From the request to the end of the answer",
    "prompt_tokens": "Of the prompt", "completion_tokens": "Of the answer", "cached_tokens": "Part of the prompt's",
    "cache_write_tokens": "Part of the prompt's", "reasoning_tokens": "Part of the answer's",
    "attempts": "How many attempts were made",
}  # fmt: skip


def form(path: str) -> Callable[[], str]:
    def make() -> str:
        module, _, name = path.rpartition(".")
        kind = getattr(importlib.import_module(module), name)
        texts, hints = attribute_texts(kind), get_type_hints(kind, include_extras=True)
        rows = [
            (f"`{f.name}`", type_of(hints[f.name]), default_of(f), texts.get(f.name) or FIELD_TEXTS.get(f.name, ""))
            for f in msgspec.structs.fields(kind)
            if not (name in ("ConnectionForm", "ModelForm", "UserForm") and f.name == "name")
        ]
        return table(("Field", "Type", "Default", "Meaning"), rows)

    return make


def errors() -> str:
    from byom import errors as module

    meaning = dict(re.findall(r"[├└]── (\w+) +\d{3} *(.*)", module.__doc__ or ""))
    kinds = [
        kind for _, kind in inspect.getmembers(module, inspect.isclass)
        if issubclass(kind, module.ByomError) and kind is not module.ByomError
    ]  # fmt: skip
    kinds.sort(key=lambda kind: (kind.status, kind.__mro__[::-1].__len__(), kind.__name__))
    rows = [
        (str(kind.status), f"`{kind.code}`", f"`{kind.type}`", f"`{kind.__name__}`", "yes" if kind.retryable else "no",
         meaning.get(kind.__name__, "") or one_line((kind.__doc__ or "").split("\n")[0]))
        for kind in kinds
    ]  # fmt: skip
    return table(("Status", "`code`", "`type`", "`byom.errors`", "Again?", "Meaning"), rows)


def commands() -> str:
    import typer

    from byom.cli.main import COMMANDS, app

    group = typer.main.get_command(app)
    parts = []
    for name in COMMANDS:
        command = group.get_command(None, name)  # type: ignore[attr-defined]
        below = getattr(command, "commands", None)
        if below:
            parts.append(f"### byom {name}\n\n{command.help}\n")
            parts += [_command(f"{name} {sub}", one, "####") for sub, one in below.items()]
        else:
            parts.append(_command(name, command, "###"))
    return "\n".join(parts).rstrip() + "\n"


def _command(name: str, command: Any, level: str) -> str:
    text, _, examples = (command.help or "").partition("\b")
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    flags = [p for p in command.params if p.param_type_name == "option" and not p.hidden
             and p.name not in ("install_completion", "show_completion")]  # fmt: skip
    shown = " ".join(_argument(one) for one in arguments)
    lines = [f"{level} byom {name}\n", one_line(text), "", f"`byom {name}{' ' + shown if shown else ''}`\n"]
    rows = [(f"`{_option(one)}`", one_line(one.help or "")) for one in flags]
    if rows:
        lines += [table(("Option", "Meaning"), rows), ""]
    wanted = [line.strip() for line in examples.splitlines() if line.strip() and "Examples:" not in line]
    if wanted:
        lines += ["```text", *wanted, "```", ""]
    return "\n".join(lines)


def _argument(one: Any) -> str:
    name = one.metavar or one.name.upper()
    name = f"{name}…" if one.nargs == -1 else name
    return name if one.required else f"[{name}]"


def _option(one: Any) -> str:
    names = ", ".join([*one.opts, *one.secondary_opts])
    return names if one.is_flag else f"{names} {one.metavar or one.opts[-1].lstrip(chr(45)).upper()}"


def metrics() -> str:
    from byom.gateway.figures import Figures
    from byom.gateway.metrics import GatewayCollector

    figures = Figures()
    figures.of("m")
    collector = GatewayCollector(figures, list, lambda: [("c", "closed")])
    rows = []
    for family in collector.collect():
        labels = sorted({label for sample in family.samples for label in sample.labels} - {"le"})
        name = family.name + ("_total" if family.type == "counter" else "")
        rows.append((f"`{name}`", family.type, ", ".join(labels), family.documentation))
    source = (ROOT / "src/byom/server/metrics.py").read_text(encoding="utf-8")
    rows += [
        (f"`{name}`", "gauge", "", text)
        for name, text in re.findall(r'(?:yield|GaugeMetricFamily\()\s*"(byom_\w+)",\s*"([^"]+)"', source)
    ]
    return table(("Metric", "Kind", "Labels", "Meaning"), rows)


def dependencies() -> str:
    document = tomllib.loads((Path(__file__).with_name("dependencies.toml")).read_text(encoding="utf-8"))
    locked = dict(re.findall(r"^([\w.-]+)==([^\s;\\]+)", (ROOT / "requirements/run.txt").read_text(), re.MULTILINE))
    locked |= dict(re.findall(r"^([\w.-]+)==([^\s;\\]+)", (ROOT / "requirements/test.txt").read_text(), re.MULTILINE))
    rows = [
        (f"`{name}`", locked.get(name.lower(), "—"), licence_of(name), entry["why"], entry.get("instead", ""))
        for name, entry in document["run"].items()
    ]
    return table(("Package", "Locked", "Licence", "For", "Considered instead"), rows)


def test_dependencies() -> str:
    document = tomllib.loads((Path(__file__).with_name("dependencies.toml")).read_text(encoding="utf-8"))
    rows = [(f"`{name}`", licence_of(name), text) for name, text in document["test"].items()]
    return table(("Package", "Licence", "For"), rows)


def licence_of(name: str) -> str:
    """From the installed package's own metadata."""
    try:
        found = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        return "—"
    classifiers = [
        text.rpartition(" :: ")[2] for text in found.get_all("Classifier", []) if text.startswith("License ::")
    ]
    stated = [*found.get_all("License-Expression", []), ", ".join(classifiers), *found.get_all("License", [])]
    expression: str = next((text for text in stated if text), "").split("\n")[0]
    return expression.replace(" License", "").replace("OSI Approved", "").strip() or "—"


def routes() -> str:
    """The management API's, from its OpenAPI document; no hub has to run for it."""
    from byom.server.api.application import create_api
    from byom.settings import Settings

    class Nothing:
        settings = Settings(home=Path())

    document = create_api(Nothing()).openapi()  # type: ignore[arg-type]
    rows = []
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            text = (operation.get("description") or operation.get("summary") or "").split("\n\n")[0]
            rows.append((method.upper(), f"`{path}`", one_line(text).split(". ")[0].rstrip(".")))
    return table(("Method", "Path", "Does"), rows)


FORMS = {
    "connection": "byom.catalog.forms.ConnectionForm",
    "model": "byom.catalog.forms.ModelForm",
    "limits": "byom.catalog.forms.LimitsForm",
    "price": "byom.catalog.forms.PriceForm",
    "user": "byom.catalog.forms.UserForm",
    "key": "byom.catalog.forms.KeyForm",
    "timeouts": "byom.types.target.Timeouts",
    "retry": "byom.catalog.snapshot.Retry",
    "circuit": "byom.catalog.snapshot.Circuit",
    "cache": "byom.catalog.snapshot.CachePolicy",
    "network": "byom.types.target.NetworkPolicy",
    "row": "byom.ledger.row.Row",
}
PARTS: dict[str, Callable[[], str]] = {
    "settings": settings,
    "live-settings": live_settings,
    "errors": errors,
    "commands": commands,
    "metrics": metrics,
    "dependencies": dependencies,
    "test-dependencies": test_dependencies,
    "routes": routes,
    **{f"form.{name}": form(path) for name, path in FORMS.items()},
}


def main() -> int:
    for path in pages():
        text = path.read_text(encoding="utf-8")
        new = filled(text)
        if new != text:
            path.write_text(new, encoding="utf-8")
            sys.stdout.write(f"{path.relative_to(ROOT)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
