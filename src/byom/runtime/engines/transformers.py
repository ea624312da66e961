"""``transformers serve``: Hugging Face's own server, for folders of weights, on the CPU or a GPU."""

from __future__ import annotations

import sys
from typing import Any

from byom.runtime.engines.arguments import Argument, flags
from byom.runtime.engines.overlay import with_template
from byom.runtime.engines.packages import find_package
from byom.runtime.engines.seam import Command, Installed, Launch, Offer, Slot
from byom.runtime.placement import visible_devices

ARGUMENTS: tuple[Argument, ...] = (
    Argument(
        name="dtype",
        type="text",
        choices=("auto", "float16", "bfloat16", "float32"),
        aliases=("torch_dtype",),
        help="the type of the weights in memory",
    ),
    Argument(
        name="attn_implementation",
        type="text",
        choices=("eager", "sdpa", "flash_attention_2", "flash_attention_3", "kernels-community/flash-attn2"),
        help="how attention is computed",
    ),
    Argument(name="continuous_batching", type="bool", help="answer several calls in one step"),
    Argument(name="compile", type="bool", help="compile the model: slower to start, faster after"),
    Argument(name="reasoning", type="text", choices=("on", "off", "auto"), help="think before the answer"),
    Argument(name="chat_template_kwargs", type="object", help="values for the chat template"),
    Argument(name="cb_block_size", type="int", least=1, help="tokens of a block of the cache"),
    Argument(name="cb_num_blocks", type="int", least=1, help="blocks of the cache"),
    Argument(name="cb_max_batch_tokens", type="int", least=1, help="tokens of one step"),
    Argument(name="cb_max_memory_percent", type="float", least=0, most=1, help="share of the GPU for the cache"),
    Argument(name="default_seed", type="int", least=0, help="seed of the random numbers"),
    Argument(name="log_level", type="text", choices=("debug", "info", "warning", "error"), help="how much it writes"),
)
_ON_LOAD = {"4-bit": "bnb-4bit", "8-bit": "bnb-8bit"}


class Transformers:
    name = "transformers"
    title = "transformers serve"
    arguments = ARGUMENTS
    quantizes_on_load = True
    needs_gpu = False

    def __init__(self, python: str | None = None) -> None:
        self._python = python

    def installed(self) -> Installed:
        hint = "pip install 'byom[transformers]'"
        server = find_package("transformers", python=self._python, hint=hint)
        if server.version is None or _major(server.version) < 5:
            return Installed(version=None, hint=f"{hint} (transformers 5 or later)")
        for needed in ("torch", "fastapi", "uvicorn"):
            if find_package(needed, python=self._python, hint=hint).version is None:
                return Installed(version=None, hint=f"{hint} ({needed} is missing)")
        return server

    def against(self, offer: Offer, /) -> tuple[str, ...]:
        spec, variant = offer.spec, offer.variant
        reasons = []
        if spec.kind != "LLM":
            reasons.append(f"it serves no {spec.kind} models")
        elif not {"chat", "generate"} & set(spec.abilities):
            reasons.append("it serves chat and completions alone")
        if variant.format == "ggufv2":
            reasons.append("it would unpack GGUF into full weights; llama.cpp reads it as it is")
        elif variant.format in ("fp8", "fp4", "gptq", "awq") and not offer.hardware.gpus:
            reasons.append(f"{variant.format} needs a GPU here")
        if (variant.quantization in _ON_LOAD or variant.format == "bnb") and not offer.hardware.gpus:
            reasons.append(f"{variant.quantization} is made by bitsandbytes, which needs a GPU")
        return tuple(reasons)

    def kv_element_size(self, arguments: dict[str, Any]) -> float:
        return 4.0 if arguments.get("dtype") == "float32" else 2.0

    def command(self, launch: Launch, slot: Slot, /) -> Command:
        path = launch.path
        if launch.spec.chat_template is not None and "chat" in launch.spec.abilities:
            path = with_template(launch.path, launch.spec.chat_template, slot.folder / "weights")
        device = "cpu" if not launch.gpus else "cuda:0" if len(launch.gpus) == 1 else "auto"
        words = ["--host", "127.0.0.1", "--port", str(slot.port), "--device", device]
        if launch.variant.quantization in _ON_LOAD:
            words += ["--quantization", _ON_LOAD[launch.variant.quantization]]
        if launch.trust_remote_code:
            words.append("--trust-remote-code")
        words += flags(ARGUMENTS, launch.arguments)
        threads = {"OMP_NUM_THREADS": str(launch.threads)} if launch.threads else {}
        return Command(
            argv=(self._python or sys.executable, "-m", "transformers.cli.transformers", "serve", str(path), *words),
            env={**visible_devices(launch.gpus), **threads},
            port=slot.port,
            served_model=str(path),
            authenticates=False,
        )


def _major(version: str) -> int:
    head = version.partition(".")[0]
    return int(head) if head.isdigit() else 0
