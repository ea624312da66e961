"""Which engine serves a spec here, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from byom.errors import BadRequest, Unavailable
from byom.runtime.engines.known import engine_named
from byom.runtime.engines.seam import Engine, Installed, Offer
from byom.runtime.hardware import Hardware
from byom.runtime.specs.forms import ModelSpec, Variant

_WITH_GPU = ("vLLM", "SGLang", "transformers", "llama.cpp")
_WITHOUT_GPU = ("llama.cpp", "transformers", "vLLM", "SGLang")


class EngineVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """What was found of one engine."""

    engine: str
    version: str | None
    usable: bool
    chosen: bool = False
    variant: str | None = None
    """The variant that it would serve."""
    reasons: tuple[str, ...] = ()

    def __str__(self) -> str:
        head = f"{self.engine}{f' {self.version}' if self.version else ''}"
        if self.chosen:
            return f"{head}: chosen, serves {self.variant}" + (f" ({'; '.join(self.reasons)})" if self.reasons else "")
        return f"{head}: {'; '.join(self.reasons)}"


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    engine: Engine
    variant: Variant
    verdicts: tuple[EngineVerdict, ...]

    @property
    def explanation(self) -> str:
        """A line for each engine, for ``byom launch --explain``."""
        return "\n".join(str(verdict) for verdict in self.verdicts)


class NoEngine(Unavailable):
    """Nothing here can serve this; ``details`` has the verdict on every engine."""

    code = "no_engine"
    retryable = False


def choose(
    spec: ModelSpec,
    hardware: Hardware,
    engines: Sequence[Engine],
    *,
    installed: Mapping[str, Installed] | None = None,
    forced: str | None = None,
    size: str | None = None,
    format: str | None = None,  # noqa: A002 - the name that clients use
    quantization: str | None = None,
) -> Choice:
    """The engine and the variant for a launch.

    Args:
        installed: what is known of the engines by name; asked from them where it is not given.
        forced: the engine that was asked for; any that cannot serve is then an error.
        size, format, quantization: what was asked of the variant; ``None`` leaves it to this.

    Raises `BadRequest` where no variant fits what was asked for, `NoEngine` where no engine can serve it.
    """
    only = None if forced is None else engine_named(forced, engines)
    variants = spec.pick(size=size, form=format, quantization=quantization)
    if not variants:
        there = ", ".join(variant.label for variant in spec.variants)
        asked = " ".join(text for text in (format, size and f"{size}B", quantization) if text)
        raise BadRequest(f"{spec.name} has no variant {asked}. There are: {there}.", param="quantization")
    order = _WITH_GPU if hardware.gpus else _WITHOUT_GPU
    chosen: tuple[Engine, Variant] | None = None
    verdicts = []
    for engine in sorted(engines, key=lambda one: order.index(one.name) if one.name in order else len(order)):
        present = (installed or {}).get(engine.name) or engine.installed()
        variant, verdict = _verdict(engine, present, spec, variants, hardware)
        if verdict.usable and variant is not None:
            if only is not None and engine.name != only.name:
                verdict = msgspec.structs.replace(verdict, reasons=("not asked for",))
            elif chosen is not None:
                verdict = msgspec.structs.replace(verdict, reasons=("usable, another comes first here",))
            else:
                chosen = (engine, variant)
                reasons = ("asked for",) if only is not None else ()
                verdict = msgspec.structs.replace(verdict, chosen=True, reasons=reasons)
        verdicts.append(verdict)
    if chosen is None:
        raise _none(spec, verdicts, only)
    return Choice(engine=chosen[0], variant=chosen[1], verdicts=tuple(verdicts))


def _verdict(
    engine: Engine, present: Installed, spec: ModelSpec, variants: Sequence[Variant], hardware: Hardware
) -> tuple[Variant | None, EngineVerdict]:
    """The variant that the engine would serve, and what is to be said of it by itself."""
    variant, reasons = _best(engine, spec, variants, hardware)
    if present.version is None:
        reasons = (*reasons, f"not installed: {present.hint}")
    return variant, EngineVerdict(
        engine=engine.name,
        version=present.version,
        usable=variant is not None and present.version is not None,
        variant=None if variant is None else variant.label,
        reasons=reasons,
    )


def _best(
    engine: Engine, spec: ModelSpec, variants: Sequence[Variant], hardware: Hardware
) -> tuple[Variant | None, tuple[str, ...]]:
    """The first variant that the engine can serve; where there is none, the reasons against each."""
    reasons: list[str] = []
    for variant in variants:
        against = engine.against(Offer(spec=spec, variant=variant, hardware=hardware))
        if not against:
            return variant, ()
        reasons += [reason for reason in against if reason not in reasons]
    return None, tuple(reasons)


def _none(spec: ModelSpec, verdicts: Sequence[EngineVerdict], only: Engine | None) -> NoEngine:
    told = [verdict for verdict in verdicts if only is None or verdict.engine == only.name]
    lines = "".join(f"\n- {verdict}" for verdict in told)
    what = (
        f"{only.name} cannot serve {spec.name} here:" if only is not None else f"No engine can serve {spec.name} here:"
    )
    return NoEngine(what + lines, details={"engines": [msgspec.to_builtins(verdict) for verdict in verdicts]})


def usable_engines(engines: Sequence[Engine], hardware: Hardware) -> tuple[EngineVerdict, ...]:
    """For ``byom engines``: what is installed and can run on this machine, and what to install for the rest."""
    found = []
    for engine in engines:
        present = engine.installed()
        reasons = [] if present.version is not None else [f"not installed: {present.hint}"]
        if engine.needs_gpu and not hardware.gpus:
            reasons.append("it needs a GPU, and this machine has none")
        found.append(
            EngineVerdict(engine=engine.name, version=present.version, usable=not reasons, reasons=tuple(reasons))
        )
    return tuple(found)


def engines_for(spec: ModelSpec, engines: Sequence[Engine], hardware: Hardware) -> dict[str, tuple[Variant, ...] | str]:
    """By engine the variants that it can serve here, or the reason why it cannot."""
    found: dict[str, tuple[Variant, ...] | str] = {}
    for engine in engines:
        present = engine.installed()
        fitting = tuple(
            variant
            for variant in spec.variants
            if not engine.against(Offer(spec=spec, variant=variant, hardware=hardware))
        )
        if present.version is None:
            found[engine.name] = f"not installed: {present.hint}"
        elif not fitting:
            found[engine.name] = "; ".join(_best(engine, spec, spec.variants, hardware)[1])
        else:
            found[engine.name] = fitting
    return found
