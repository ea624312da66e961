"""The engines that BYOM knows."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

from byom.errors import BadRequest
from byom.runtime.engines.llamacpp import LlamaCpp
from byom.runtime.engines.seam import Engine
from byom.runtime.engines.sglang import Sglang
from byom.runtime.engines.transformers import Transformers
from byom.runtime.engines.vllm import Vllm

_ALIASES = {
    "llamacpp": "llama.cpp",
    "llama-cpp": "llama.cpp",
    "llama_cpp": "llama.cpp",
    "xllamacpp": "llama.cpp",
    "transformers serve": "transformers",
    "pytorch": "transformers",
}


def known_engines(pythons: Mapping[str, str] | None = None) -> tuple[Engine, ...]:
    """``pythons``: by engine name in lower case, the interpreter of the environment that has it, where it is not this
    program's own."""
    paths = {name.lower(): path for name, path in (pythons or {}).items()}
    return (
        LlamaCpp(paths.get("llama.cpp")),
        Transformers(paths.get("transformers")),
        Vllm(paths.get("vllm")),
        Sglang(paths.get("sglang")),
    )


def engine_named(name: str, engines: Sequence[Engine]) -> Engine:
    """Without regard to case, and under the names other systems give it. Raises `BadRequest` that has the names."""
    wanted = _ALIASES.get(name.lower(), name.lower())
    for engine in engines:
        if engine.name.lower() == wanted:
            return engine
    names = [engine.name for engine in engines]
    near = difflib.get_close_matches(wanted, [known.lower() for known in names], 1)
    hint = next((f"Did you mean {known}? " for known in names if near and known.lower() == near[0]), "")
    raise BadRequest(f"There is no engine {name}. {hint}There are: {', '.join(names)}.", param="model_engine")
