"""What is wrong with a plugin, and what mends it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from byom.errors import ConfigError


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One finding. ``file`` is relative to the plugin's folder; ``line`` counts from 1, 0 where none is meant."""

    file: str
    line: int = 0
    message: str
    mend: str = ""
    level: str = "error"
    """``error``: the plugin cannot be used like this; ``warning``: it can, with less than it says."""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        return f"{where}: {self.message}" + (f" {self.mend}" if self.mend else "")


class PluginError(ConfigError):
    """A plugin that cannot be used; ``str(error)`` is its first problem, ``problems`` has them all."""

    code = "invalid_plugin"

    def __init__(self, problems: Sequence[Problem]) -> None:
        more = f" (and {len(problems) - 1} more: byom plugin check)" if len(problems) > 1 else ""
        super().__init__(f"{problems[0]}{more}", details={"problems": [msgspec.to_builtins(one) for one in problems]})
        self.problems = list(problems)


class Findings:
    """Collects problems, so that all are shown at once."""

    def __init__(self) -> None:
        self.all: list[Problem] = []

    def error(self, file: str, message: str, mend: str = "", *, line: int = 0) -> None:
        self.all.append(Problem(file=file, line=line, message=message, mend=mend))

    def warning(self, file: str, message: str, mend: str = "", *, line: int = 0) -> None:
        self.all.append(Problem(file=file, line=line, message=message, mend=mend, level="warning"))

    @property
    def errors(self) -> list[Problem]:
        return [one for one in self.all if one.level == "error"]

    def raise_errors(self) -> None:
        if self.errors:
            raise PluginError(self.errors)
