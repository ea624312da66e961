"""Test a connection and say precisely what is wrong, without spending tokens unless that is allowed."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

import httpx2
import msgspec

from byom.errors import BadRequest
from byom.types.target import NetworkPolicy, Timeouts
from byom.upstream import report as judge
from byom.upstream.client import client_for
from byom.upstream.exchange import Answer, exchange, target_of
from byom.upstream.network import Resolver, default_resolver
from byom.upstream.problems import Problem
from byom.upstream.report import CheckReport, Tried
from byom.upstream.servers import EXTRAS, TGI_INFO, Extra, guess_server, parse_models, with_contexts
from byom.upstream.url import Endpoint, Scheme, parse_endpoint

_MISSING = (404, 405, 410, 501)


async def check(
    endpoint_text: str,
    key: str | None = None,
    models: Sequence[str] = (),
    policy: NetworkPolicy = NetworkPolicy(),  # noqa: B008 - frozen
    *,
    headers: tuple[tuple[str, str], ...] = (),
    verify_tls: bool = True,
    ca_file: str | None = None,
    timeout: float = 10.0,
    allow_spend: bool = False,
    resolver: Resolver | None = None,
    use_env_proxy: bool = False,
) -> CheckReport:
    """Find the base path that works, list the models, and look for the wanted ones.

    Only ``GET`` requests are sent, each bounded by ``timeout`` seconds. Where the server lists no models and
    ``allow_spend`` is set, one chat call of one token is made for each of ``models`` (in their absence none is).
    Never raises for what is wrong with the connection: that is in ``problems``.
    """
    found = CheckReport(key_sent=bool(key), problems=[], tried=[], models=[])
    try:
        endpoint = parse_endpoint(endpoint_text)
        if key is not None and (not key.isascii() or any(ch.isspace() or not ch.isprintable() for ch in key)):
            raise BadRequest(
                "The key contains spaces or other characters that no key has. Copy it again.", code="invalid_key"
            )
    except BadRequest as error:
        message, _, hint = error.message.partition(". ")
        found.problems.append(
            Problem(
                code="invalid_key" if error.code == "invalid_key" else "invalid_url",
                message=message.rstrip("."),
                hint=hint,
            )
        )
        return found
    resolver = resolver or default_resolver()
    for scheme in _schemes(endpoint, key):
        one = endpoint.with_scheme(scheme)
        target = target_of(one, key, headers=headers, verify_tls=verify_tls, ca_file=ca_file)
        timeouts = Timeouts(connect=timeout)
        async with client_for(
            target, policy, timeouts=timeouts, resolver=resolver, use_env_proxy=use_env_proxy
        ) as client:
            attempt = _Attempt(one, client, resolver, key, tuple(models), timeout, allow_spend)
            await attempt.run()
        found = _better(found, attempt.found)
        if found.ok or not _other_scheme_may_help(found):
            break
    return found


def _schemes(endpoint: Endpoint, key: str | None) -> list[Scheme]:
    """A guessed scheme may be wrong. A key is never sent in clear over a network that the user did not choose."""
    other: Scheme = "https" if endpoint.scheme == "http" else "http"
    if not endpoint.scheme_guessed or (other == "http" and key and not _is_local(endpoint.host)):
        return [endpoint.scheme]
    return [endpoint.scheme, other]


def _is_local(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _other_scheme_may_help(found: CheckReport) -> bool:
    return any(problem.code in ("tls", "unreachable", "refused", "timeout", "redirect") for problem in found.problems)


def _better(first: CheckReport, second: CheckReport) -> CheckReport:
    """The attempt that worked, or else the first one, whose problems fit what the user wrote."""
    if first.endpoint is None or second.ok or not any(problem.level == "error" for problem in first.problems):
        return second
    if any(problem.details.get("reason") in ("tls_required", "not_tls") for problem in first.problems):
        return second
    return first


class _Attempt:
    """The check by one scheme."""

    def __init__(
        self,
        endpoint: Endpoint,
        client: httpx2.AsyncClient,
        resolver: Resolver,
        key: str | None,
        models: tuple[str, ...],
        timeout: float,
        allow_spend: bool,
    ) -> None:
        self._endpoint = endpoint
        self._client = client
        self._resolver = resolver
        self._key = key
        self._models = models
        self._timeout = timeout
        self._allow_spend = allow_spend
        self.found = CheckReport(endpoint=endpoint, key_sent=bool(key), problems=[], tried=[], models=[])

    async def run(self) -> None:
        strange: list[Answer] = []
        for base in self._endpoint.candidates():
            answer = await self._get(f"{base}/models")
            if isinstance(answer, Problem):
                self.found.problems.append(answer)
                return
            listed = parse_models(answer.body) if answer.status == 200 else None
            if listed is not None:
                self._use(base, answer)
                self.found.models = listed
                self.found.server = guess_server(answer.headers, listed)
                await self._after_list(base)
                return
            problem = self._fatal(answer)
            if problem is not None:
                self._use(base, answer)
                self.found.problems.append(problem)
                return
            if answer.status not in _MISSING:
                strange.append(answer)
        await self._without_list(strange)

    def _use(self, base: str, answer: Answer) -> None:
        self.found.endpoint = msgspec.structs.replace(self._endpoint, base_path=base)
        self.found.latency_ms = round(answer.milliseconds, 2)

    def _fatal(self, answer: Answer) -> Problem | None:
        if answer.status in (401, 403):
            self.found.key_needed = True
            return judge.unauthorized(answer, self._key)
        if 300 <= answer.status < 400:
            return judge.redirect(answer)
        if answer.status == 429 or (answer.status >= 500 and answer.status != 501):
            return judge.server_error(answer, self._key)
        return None

    async def _get(self, path: str, *, authorized: bool = True) -> Answer | Problem:
        answer = await exchange(
            self._client,
            self._endpoint,
            self._resolver,
            "GET",
            path,
            timeout=self._timeout,
            authorized=authorized,
        )
        self._note("GET", answer)
        return answer

    def _note(self, method: str, answer: Answer | Problem) -> None:
        if isinstance(answer, Problem):
            self.found.tried.append(Tried(method, answer.url, 0, answer.code))
        else:
            self.found.tried.append(Tried(method, answer.url, answer.status, ""))

    async def _after_list(self, base: str) -> None:
        await self._read_contexts(base)
        if self._key:
            await self._is_key_tested(base)
        url = self._endpoint.url(f"{base}/models")
        for name in self._models:
            # TGI answers to any name; its list only says which weights it runs.
            if not judge.is_listed(name, self.found.models) and self.found.server != "TGI":
                self.found.problems.append(judge.unknown_model(name, self.found.models, url))
        if not self.found.models and not self._models:
            self.found.problems.append(
                Problem(
                    code="models_not_listed",
                    message="The server lists no models",
                    hint="Load a model on the server, or name the model with --model.",
                    url=url,
                    level="warning",
                )
            )

    async def _is_key_tested(self, base: str) -> None:
        """A list that everybody may read says nothing of the key."""
        bare = await self._get(f"{base}/models", authorized=False)
        if isinstance(bare, Problem):
            return
        self.found.key_needed = bare.status in (401, 403)
        if bare.status == 200:
            self.found.problems.append(
                Problem(
                    code="key_not_tested",
                    message="The server lists its models without a key too, so the key could not be tested",
                    hint="The first call will tell; 'byom probe' makes one.",
                    url=bare.url,
                    level="warning",
                )
            )

    async def _read_contexts(self, base: str) -> None:
        extra = EXTRAS.get(self.found.server or "")
        if extra is None or not self.found.models or self._all_known(extra):
            return
        root = base.removesuffix("/v1")
        answer = await self._get(f"{root}{extra.path}")
        if isinstance(answer, Answer) and answer.status == 200:
            self.found.models = with_contexts(self.found.models, extra.read(judge.decoded_object(answer.body)))

    def _all_known(self, extra: Extra) -> bool:
        # llama.cpp lists what the model was trained with; /props has what it runs with.
        return extra is EXTRAS["TGI"] and all(model.context_window for model in self.found.models)

    async def _without_list(self, strange: list[Answer]) -> None:
        """No list anywhere: an old TGI, a server with chat alone, or something else altogether."""
        base = await self._base_with_chat()
        info = await self._get(f"{self._root()}/info") if not strange else None
        if isinstance(info, Answer) and info.status == 200:
            self._read_info(info)
        if self._allow_spend and self._models:
            await self._spend(strange)
            return
        if base is None and self.found.server is None:
            self.found.problems.append(
                judge.not_openai(strange, self._key) if strange else judge.not_found(self.found.tried)
            )
            return
        self.found.endpoint = msgspec.structs.replace(
            self._endpoint, base_path=base if base is not None else self._endpoint.candidates()[0]
        )
        self.found.problems.append(
            Problem(
                code="models_not_listed",
                message="The server has chat but lists no models, so the model's name and the key could not be tested",
                hint="Allow one call of one token to test them, or connect and try.",
                url=self.found.endpoint.url(),
                level="warning" if self._models else "error",
                details={"needs": "allow_spend" if self._models else "model"},
            )
        )

    def _root(self) -> str:
        return self._endpoint.base_path.removesuffix("/v1")

    def _read_info(self, info: Answer) -> None:
        contexts = TGI_INFO.read(judge.decoded_object(info.body))
        names = [name for name in contexts if name != "*"]
        if names:
            self.found.server = "TGI"
            entries = [{"id": name} for name in names]
            self.found.models = with_contexts(parse_models(msgspec.json.encode(entries)) or [], contexts)

    async def _base_with_chat(self) -> str | None:
        """A route that answers 405 to ``GET`` exists: that costs nothing to find out."""
        for base in self._endpoint.candidates():
            answer = await self._get(f"{base}/chat/completions")
            if isinstance(answer, Answer) and answer.status in (400, 401, 405, 415, 422):
                self._use(base, answer)
                return base
        return None

    async def _spend(self, strange: list[Answer]) -> None:
        for name in self._models:
            problem = await self._call(name, strange)
            if problem is not None:
                self.found.problems.append(problem)

    async def _call(self, name: str, strange: list[Answer]) -> Problem | None:
        """One token of chat, or one embedding where there is no chat."""
        chat = {"model": name, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
        requests = (("/chat/completions", chat), ("/embeddings", {"model": name, "input": "Hi"}))
        for base in self._endpoint.candidates():
            for route, body in requests:
                answer = await exchange(
                    self._client,
                    self._endpoint,
                    self._resolver,
                    "POST",
                    base + route,
                    timeout=max(self._timeout, 60.0),
                    json=body,
                )
                self._note("POST", answer)
                if isinstance(answer, Problem):
                    return answer
                if answer.status == 200 and judge.is_completion(answer.body):
                    self.found.paid_calls += 1
                    self._use(base, answer)
                    return None
                problem = self._fatal(answer)
                if problem is None and judge.is_unknown_model(answer):
                    problem = judge.unknown_model(name, self.found.models, answer.url)
                if problem is not None:
                    self._use(base, answer)
                    return problem
                if answer.status not in _MISSING:
                    strange.append(answer)
        return judge.not_openai(strange, self._key) if strange else judge.not_found(self.found.tried)
