"""The program that serves a GGUF file with llama.cpp's own HTTP server.

Standard input: the token, then one line of JSON (what `byom.runtime.engines.llamacpp` writes); it ends when that does.
Standard output: ``{"stage": "loading"}``, then ``{"port": N}`` when it listens on 127.0.0.1. Standard error: its log.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import signal
import sys
import threading
from typing import Any

_PR_SET_PDEATHSIG = 1


def main() -> int:
    parent = os.getppid()
    if sys.platform == "linux":
        # Loading holds the interpreter for as long as it takes, in which the thread below could not see the parent die.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            return 1
    token = sys.stdin.buffer.readline().strip().decode("ascii")
    configuration = json.loads(sys.stdin.buffer.readline())
    if not token:
        sys.stderr.write("There is no token on standard input.\n")
        return 2
    threading.Thread(target=_follow_stdin, name="stdin", daemon=True).start()
    _say({"stage": "loading"})
    try:
        server = _serve(configuration, token)
    except ImportError as error:
        sys.stderr.write(f"xllamacpp cannot be loaded: {error}. Install it with: pip install 'byom[llamacpp]'\n")
        return 3
    except RuntimeError as error:
        sys.stderr.write(f"llama.cpp cannot serve {configuration['model']}: {error}\n")
        return 4
    _say({"port": int(server.listening_address.rpartition(":")[2])})
    threading.Event().wait()
    return 0


def _say(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def _follow_stdin() -> None:
    while sys.stdin.buffer.read(4096):
        pass
    os._exit(0)


def _serve(configuration: dict[str, Any], token: str) -> Any:
    xllamacpp = importlib.import_module("xllamacpp")

    params = xllamacpp.CommonParams()
    params.model.path = configuration["model"]
    if configuration["projector"]:
        params.mmproj.path = configuration["projector"]
    params.model_alias = {configuration["name"]}
    params.api_keys = [token]
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.ui = False
    params.endpoint_slots = False
    params.cors_origins = ""
    params.offline = True
    params.n_parallel = configuration["parallel"]
    params.n_ctx = configuration["context_length"] * configuration["parallel"]
    params.fit_params = False
    if not configuration["gpu"]:
        params.n_gpu_layers = 0
    params.cache_ram_mib = 0
    params.cache_idle_slots = False
    params.warmup = configuration["warmup"]
    params.verbosity = 2
    if configuration["threads"]:
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = configuration["threads"]
    if configuration["chat_template"]:
        params.chat_template = configuration["chat_template"]
    params.antiprompt = configuration["stop"]
    params.embedding = configuration["embedding"]
    if configuration["embedding"]:
        # A text is embedded in one step, so a step must hold the longest.
        params.n_batch = params.n_ubatch = max(512, min(configuration["context_length"], 8192))
    if configuration["pooling"]:
        params.pooling_type = _member(xllamacpp.llama_pooling_type, configuration["pooling"])
    _apply(xllamacpp, params, configuration["arguments"])
    return xllamacpp.Server(params)


_RENAMED = {
    "n_threads": ("cpuparams", "n_threads"),
    "n_threads_batch": ("cpuparams_batch", "n_threads"),
    "prompt_cache_mib": ("cache_ram_mib",),
    "log_level": ("verbosity",),
    "pooling": ("pooling_type",),
    "flash_attn": ("flash_attn_type",),
}
_ENUMERATIONS = {
    "split_mode": "llama_split_mode",
    "pooling": "llama_pooling_type",
    "reasoning_format": "common_reasoning_format",
    "cache_type_k": "ggml_type",
    "cache_type_v": "ggml_type",
}


def _apply(xllamacpp: Any, params: Any, arguments: dict[str, Any]) -> None:
    for name, given in arguments.items():
        value = given
        if name == "flash_attn":
            word = {"auto": "AUTO", "on": "ENABLED", "off": "DISABLED"}[given]
            value = _member(xllamacpp.llama_flash_attn_type, word)
        elif name in _ENUMERATIONS:
            value = _member(getattr(xllamacpp, _ENUMERATIONS[name]), given)
        elif name == "tensor_split":
            value = given + [0.0] * (len(params.tensor_split) - len(given))
        *path, last = _RENAMED.get(name, (name,))
        target = params
        for step in path:
            target = getattr(target, step)
        setattr(target, last, value)


def _member(enumeration: Any, word: str) -> Any:
    """The member of an enumeration of C whose name ends with ``_WORD``."""
    for member in enumeration:
        if member.name.lower().endswith(f"_{word.lower()}"):
            return member
    raise RuntimeError(f"this xllamacpp knows no {word} in {enumeration.__name__}")


if __name__ == "__main__":
    sys.exit(main())
