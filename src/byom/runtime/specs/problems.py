"""What is wrong with a spec: every problem at once, each with its field and its mend."""

from __future__ import annotations

from typing import NamedTuple

from byom.errors import BadRequest


class Problem(NamedTuple):
    path: str
    """The field as a JSON path: ``model_specs[0].quantization``."""
    what: str
    mend: str

    def __str__(self) -> str:
        return f"{self.path}: {self.what}. {self.mend}"


class SpecInvalid(BadRequest):
    """A spec that cannot be launched; ``problems`` has all of them."""

    code = "invalid_spec"

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = tuple(problems)
        text = str(problems[0]) if len(problems) == 1 else "".join(f"\n- {problem}" for problem in problems)
        count = "" if len(problems) == 1 else f" has {len(problems)} problems"
        super().__init__(
            f"The spec{count}: {text}" if count == "" else f"The spec{count}:{text}",
            param=problems[0].path,
            details={"problems": [problem._asdict() for problem in problems]},
        )


class Problems:
    """Collects problems and notes while a spec is read."""

    def __init__(self) -> None:
        self.found: list[Problem] = []
        self.notes: list[str] = []

    def add(self, path: str, what: str, mend: str) -> None:
        problem = Problem(path or "$", what, mend)
        if problem not in self.found:
            self.found.append(problem)

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def raise_if_any(self) -> None:
        """Raises `SpecInvalid`."""
        if self.found:
            raise SpecInvalid(self.found)
