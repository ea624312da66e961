"""Connection checks: what to look at, and the report."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr

from byom.server.api.schemas.fields import Flag, Given, Name, Shown, Text
from byom.upstream import problems, report, servers

Headers = Annotated[dict[Name, Text], Field(max_length=50)]
CheckTimeout = Annotated[float, Field(strict=True, gt=0, le=60, description="Seconds for each request of the check.")]
ModelNames = Annotated[list[Name], Field(max_length=500)]
DEFAULT_TIMEOUT = 10.0


class CheckIn(Given):
    """A connection that is not saved."""

    url: Text
    key: SecretStr | None = Field(default=None, max_length=4096, description="Sent to this URL's host, and forgotten.")
    models: ModelNames = []
    headers: Headers = {}
    verify_tls: Flag = True
    ca_file: Text | None = None
    timeout: CheckTimeout = DEFAULT_TIMEOUT
    allow_spend: Flag = Field(
        default=False, description="Where the server lists no models, call each named model for one token."
    )


class StoredCheckIn(Given):
    """How to check a connection that is saved."""

    models: ModelNames | None = Field(
        default=None, description="The server's names to look for; by default those in use."
    )
    timeout: CheckTimeout = DEFAULT_TIMEOUT
    allow_spend: Flag = False


class ListedModel(Shown):
    id: str
    context_window: int | None
    abilities: list[str] | None
    owned_by: str | None

    @classmethod
    def listed(cls, model: servers.ListedModel) -> ListedModel:
        abilities = None if model.abilities is None else sorted(model.abilities)
        return cls(id=model.id, context_window=model.context_window, abilities=abilities, owned_by=model.owned_by)


class Problem(Shown):
    """One thing that is wrong. A ``warning`` does not keep the connection from being used."""

    code: problems.Code
    message: str
    hint: str
    url: str
    level: Literal["error", "warning"]
    details: dict[str, Any]


class Tried(Shown):
    """One request of the check; ``status`` is 0 where no answer came."""

    method: str
    url: str
    status: int
    note: str


class CheckReport(Shown):
    ok: bool = Field(description="Whether the connection can be used.")
    url: str | None = Field(description="The URL that works, up to where the routes begin.")
    server: str | None = Field(description="The kind of server: a guess, for display.")
    latency_ms: float | None
    key_sent: bool
    key_needed: bool | None = Field(description="null where it was not found out.")
    models: list[ListedModel] = Field(description="What the server lists, in its order.")
    problems: list[Problem]
    tried: list[Tried]
    paid_calls: int

    @classmethod
    def from_report(cls, found: report.CheckReport) -> CheckReport:
        return cls(
            ok=found.ok,
            url=found.base_url,
            server=found.server,
            latency_ms=found.latency_ms,
            key_sent=found.key_sent,
            key_needed=found.key_needed,
            models=[ListedModel.listed(model) for model in found.models],
            problems=[Problem.of(problem) for problem in found.problems],
            tried=[Tried.of(tried) for tried in found.tried],
            paid_calls=found.paid_calls,
        )


class UpstreamModel(ListedModel):
    added: list[str] = Field(description="Names under which this connection has it already.")


class UpstreamModels(Shown):
    data: list[UpstreamModel]
    server: str | None
    url: str | None
