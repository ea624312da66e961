"""What the classes of an ``llm.py`` can do, seen without running it."""

from __future__ import annotations

import ast
from typing import NamedTuple

BASES = {"BaseLLM": "chat", "BaseEmbeddingModel": "embed", "BaseRerankingModel": "rerank"}
METHODS = frozenset({"process", "aprocess", "process_stream", "aprocess_stream"})
ORDER = ("chat", "embed", "rerank")


class Classes(NamedTuple):
    abilities: tuple[str, ...] = ()
    problems: tuple[tuple[int, str, str], ...] = ()
    """Line, message, mend."""


def classes_in(tree: ast.Module) -> Classes:
    """A class derived from a base, or from a class of the file that is; and one with a ``process`` method and no base
    that is known, which is taken for a chat model. Bases that come from other modules may hide some."""
    kinds = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    found = {name: ability for name, node in kinds.items() if (ability := _ability(node, kinds, set()))}
    if not found:
        bare = [name for name, node in kinds.items() if _methods(node)]
        if len(bare) == 1:
            return Classes(abilities=("chat",))
        if not any(node.bases for node in kinds.values()) and not _imports_models(tree):
            names = ", ".join(BASES)
            return Classes(problems=((1, "it has no class of a model.", f"Derive one from {names}."),))
    return Classes(abilities=tuple(one for one in ORDER if one in found.values()))


def _ability(node: ast.ClassDef, kinds: dict[str, ast.ClassDef], seen: set[str]) -> str | None:
    for base in node.bases:
        name = base.attr if isinstance(base, ast.Attribute) else base.id if isinstance(base, ast.Name) else ""
        if name in BASES:
            return BASES[name]
        if name in kinds and name not in seen and (ability := _ability(kinds[name], kinds, {*seen, name})):
            return ability
    return None


def _methods(node: ast.ClassDef) -> bool:
    return any(isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef) and one.name in METHODS for one in node.body)


def _imports_models(tree: ast.Module) -> bool:
    """Whether names come from elsewhere that may be classes of models."""
    return any(
        isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] != "dataiku" for node in tree.body
    )
