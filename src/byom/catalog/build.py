"""From the state to the snapshot that the gateway reads. Pure: no database, no network, no file."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from byom.catalog import amounts, hub_settings
from byom.catalog.forms import LimitsForm
from byom.catalog.names import aliases
from byom.catalog.pricing import price_in_force
from byom.catalog.snapshot import CallerKey, Route, Snapshot
from byom.catalog.state import ConnectionRow, KeyRow, ModelRow, SecretRow, State, UserRow
from byom.types.limits import Scope
from byom.types.target import Target
from byom.upstream.url import parse_endpoint

NOT_RUNNING = Target(scheme="http", host="", port=0, base_path="", trusted=True)
"""The target of a model whose process is not running now. Its ``host`` is empty: answer 503, there is nowhere to go."""

DEFAULT_ABILITIES = frozenset({"chat"})
Reveal = Callable[[SecretRow], str]


def build_snapshot(state: State, running: Mapping[str, Target], reveal: Reveal) -> Snapshot:
    """The snapshot of ``state``.

    ``running``: where processes listen, by connection name. ``reveal``: decrypts a secret; it is only asked for
    secrets that were saved for the very scheme, host and port that the connection has now.
    """
    settings, network = hub_settings.in_force(state)
    targets = {row.id: target_of(row, state, running, reveal) for row in state.connections.values()}
    models = tuple(
        _route(row, state.connections[row.connection_id], targets[row.connection_id], state)
        for row in state.models.values()
        if row.enabled and state.connections[row.connection_id].enabled
    )
    return Snapshot(
        version=state.revision,
        routes=_by_all_names(models),
        models=models,
        connections={row.name: targets[row.id] for row in state.connections.values() if row.enabled},
        keys=_caller_keys(state),
        network=network,
        settings=settings,
    )


def destination_of(url: str | None) -> str:
    """The place that a secret is bound to: scheme, host and port; empty without a URL."""
    if url is None:
        return ""
    endpoint = parse_endpoint(url)
    return f"{endpoint.scheme}://{endpoint.host}:{endpoint.port}"


def target_of(row: ConnectionRow, state: State, running: Mapping[str, Target], reveal: Reveal) -> Target:
    """Where the connection's upstream is. `NOT_RUNNING` where a process is needed and none is there."""
    if row.url is None:
        return running.get(row.name, NOT_RUNNING)
    endpoint = parse_endpoint(row.url)
    authorization, headers = None, dict(row.headers)
    destination = destination_of(row.url)
    for secret in state.secrets_of(row.id):
        if secret.destination != destination:
            continue  # bound to another host: it never leaves for this one
        if secret.name == "key":
            authorization = f"Bearer {reveal(secret)}"
        else:
            headers[secret.name.removeprefix("header:")] = reveal(secret)
    if "authorization" in headers:
        authorization = headers.pop("authorization")
    return Target(
        scheme=endpoint.scheme,
        host=endpoint.host,
        port=endpoint.port,
        base_path=endpoint.base_path,
        authorization=authorization,
        headers=tuple(sorted(headers.items())),
        verify_tls=row.policy.verify_tls,
        ca_file=row.policy.ca_file,
    )


def _route(row: ModelRow, connection: ConnectionRow, target: Target, state: State) -> Route:
    own, shared = row.policy, connection.policy
    scopes, max_wait = _scopes(("model", row.id, row.limits), ("connection", connection.id, connection.limits))
    return Route(
        name=row.name,
        model_id=row.id,
        connection=connection.name,
        connection_id=connection.id,
        upstream_model=row.upstream_model,
        target=target,
        abilities=DEFAULT_ABILITIES if row.abilities is None else frozenset(row.abilities),
        timeouts=shared.timeouts if own.timeouts is None else own.timeouts,
        retry=shared.retry if own.retry is None else own.retry,
        circuit=shared.circuit,
        price=price_in_force(row, connection, state).price,
        scopes=scopes,
        max_wait=max_wait,
        fallbacks=row.fallbacks,
        cache=own.cache,
        streaming=own.streaming or shared.streaming,
        stream_usage=own.stream_usage or shared.stream_usage,
        missing_usage=own.missing_usage or shared.missing_usage,
        max_tokens_field=own.max_tokens_field or shared.max_tokens_field,
        context_window=row.context_window,
        created=row.created_at // 1_000_000,
        version=row.version + connection.version,
    )


def _scopes(*limited: tuple[str, str, LimitsForm]) -> tuple[tuple[Scope, ...], float]:
    """The scopes that have limits, and the longest wait that one of them allows."""
    scopes, max_wait = [], 0.0
    for kind, id_, form in limited:
        limits = amounts.enforced(form)
        if limits:
            scopes.append(Scope(f"{kind}:{id_}", limits))
            max_wait = max(max_wait, limits.max_wait)
    return tuple(scopes), max_wait


def _by_all_names(models: tuple[Route, ...]) -> dict[str, Route]:
    """Every name once: a model's own name goes before the longer names, and those before the upstream's names.

    So a model that is called ``a/b`` is found by that name, and the model ``b`` of the connection ``a`` by
    ``custom:a:b``. Where two longer names are equal, the older model has it.
    """
    routes = {route.name: route for route in models}
    for route in models:
        for alias in aliases(route.connection, route.name):
            routes.setdefault(alias, route)
    for route in models:
        for alias in aliases(route.connection, route.upstream_model):
            routes.setdefault(alias, route)
    return routes


def _caller_keys(state: State) -> dict[str, CallerKey]:
    """Keys that are neither revoked nor of a disabled user; whether one has expired is looked at on each call."""
    users = {row.id: row for row in state.users.values() if not row.disabled}
    return {
        row.id: _caller_key(row, users[row.user_id])
        for row in state.keys.values()
        if row.revoked_at is None and row.user_id in users
    }


def _caller_key(row: KeyRow, user: UserRow) -> CallerKey:
    scopes, max_wait = _scopes(("key", row.id, row.limits), ("user", user.id, user.limits))
    return CallerKey(
        id=row.id,
        digest=row.digest,
        user_id=user.id,
        user_name=user.name,
        name=row.name,
        role=row.role if user.role == "admin" else "inference",
        models=None if row.models is None else frozenset(row.models),
        scopes=scopes,
        max_wait=max_wait,
        expires_at=row.expires_at,
    )
