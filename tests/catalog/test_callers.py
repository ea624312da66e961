from __future__ import annotations

import hashlib
import re
import time
from pathlib import Path

import pytest

from byom.catalog.catalog import Catalog
from byom.catalog.keys import authenticate, new_token
from byom.errors import ConfigError, Conflict, NotFound, Unauthenticated

from .conftest import ME, Opener


async def test_a_key_is_shown_once_and_kept_as_a_digest(catalog: Catalog) -> None:
    """Gateway checklist 64."""
    made = await catalog.keys.create({"name": "notebook"}, actor=ME)
    assert re.fullmatch(r"sk-byom-[a-z2-7]{12}-[A-Za-z0-9]{33}", made.token)
    kept = catalog.snapshot.keys[made.key.id]
    assert kept.digest == hashlib.sha256(made.token.encode()).digest()
    assert made.token not in repr(made)
    assert (await catalog.keys.get(made.key.id)).key_hint == made.token[-4:]


async def test_a_key_opens_the_door(catalog: Catalog) -> None:
    made = await catalog.keys.create({"name": "k", "role": "admin"}, actor=ME)
    caller = catalog.authenticate(made.token)
    assert (caller.name, caller.user_name, caller.role) == ("k", "admin", "admin")


@pytest.mark.parametrize("token", [None, "", "sk-abc", "Bearer x", "sk-byom-", "sk-byom-" + "a" * 46, "\ud800" * 54])
async def test_what_is_no_key_is_refused_with_a_helpful_word(local: Catalog, token: str | None) -> None:
    with pytest.raises(Unauthenticated, match=r"sk-byom|not valid"):
        local.authenticate(token)


async def test_an_unknown_id_and_a_wrong_secret_are_told_the_same(local: Catalog) -> None:
    made = await local.keys.create({"name": "k"}, actor=ME)
    _, stranger = new_token()
    wrong = made.token[:-1] + ("a" if made.token[-1] != "a" else "b")
    messages = set()
    for token in (stranger, wrong):
        with pytest.raises(Unauthenticated) as caught:
            local.authenticate(token)
        messages.add((str(caught.value), caught.value.code))
    await local.keys.revoke(made.key.id, actor=ME)
    with pytest.raises(Unauthenticated) as caught:
        local.authenticate(made.token)
    messages.add((str(caught.value), caught.value.code))
    assert len(messages) == 1


async def test_a_revoked_key_stops_at_once_here_and_soon_everywhere(catalog: Catalog, opener: Opener) -> None:
    """Gateway checklist 65."""
    other = await opener()
    made = await catalog.keys.create({"name": "k"}, actor=ME)
    await other.refresh()
    assert other.authenticate(made.token).id == made.key.id
    plan = await catalog.keys.revoke(made.key.id, actor=ME)
    assert plan.keys == (made.key.id,)
    with pytest.raises(Unauthenticated):
        catalog.authenticate(made.token)
    assert await other.refresh()
    with pytest.raises(Unauthenticated):
        other.authenticate(made.token)
    await catalog.keys.revoke(made.key.id, actor=ME)  # once more does no harm
    assert (await catalog.keys.get(made.key.id)).state == "revoked"


async def test_an_expired_key_is_told_so(local: Catalog) -> None:
    made = await local.keys.create({"name": "k", "expires_at": 1000.0}, actor=ME)
    assert authenticate(local.snapshot, made.token, now=999.9).id == made.key.id
    with pytest.raises(Unauthenticated, match="expired"):
        authenticate(local.snapshot, made.token, now=1000.0)
    assert (await local.keys.get(made.key.id)).state == "expired"


async def test_a_disabled_user_has_no_working_keys(catalog: Catalog) -> None:
    await catalog.users.create({"name": "ann"}, actor=ME)
    made = await catalog.keys.create({"name": "k", "user": "ann"}, actor=ME)
    await catalog.users.update("ann", {"disabled": True}, actor=ME)
    with pytest.raises(Unauthenticated):
        catalog.authenticate(made.token)
    assert (await catalog.keys.get(made.key.id)).state == "disabled"
    await catalog.users.update("ann", {"disabled": False}, actor=ME)
    assert catalog.authenticate(made.token).user_name == "ann"


async def test_a_user_who_is_no_admin_any_more_has_no_admin_keys(local: Catalog) -> None:
    await local.users.create({"name": "ann", "role": "admin"}, actor=ME)
    made = await local.keys.create({"name": "k", "user": "ann", "role": "admin"}, actor=ME)
    await local.users.update("ann", {"role": "inference"}, actor=ME)
    assert local.authenticate(made.token).role == "inference"
    with pytest.raises(ConfigError, match="role"):
        await local.keys.create({"name": "k2", "user": "ann", "role": "admin"}, actor=ME)


async def test_limits_of_key_and_user_are_on_the_caller(local: Catalog) -> None:
    await local.users.create({"name": "ann", "limits": {"budget": {"amount": 1, "period": "day"}}}, actor=ME)
    made = await local.keys.create({"name": "k", "user": "ann", "limits": {"concurrency": 2, "max_wait": 5}}, actor=ME)
    caller = local.authenticate(made.token)
    assert {scope.id for scope in caller.scopes} == {f"key:{caller.id}", f"user:{caller.user_id}"}
    assert caller.max_wait == 5


async def test_a_key_for_an_unknown_model_or_user_is_refused(local: Catalog) -> None:
    with pytest.raises(ConfigError) as caught:
        await local.keys.create({"name": "k", "models": ["nope"]}, actor=ME)
    assert caught.value.param == "models"
    with pytest.raises(NotFound):
        await local.keys.create({"name": "k", "user": "nobody"}, actor=ME)


async def test_a_key_can_be_edited_but_stays_with_its_user(local: Catalog) -> None:
    made = await local.keys.create({"name": "k"}, actor=ME)
    await local.users.create({"name": "ann"}, actor=ME)
    edited = await local.keys.update(made.key.id, {"name": "k2", "models": ["extractive"]}, actor=ME)
    assert (edited.name, edited.models) == ("k2", ("extractive",))
    assert local.authenticate(made.token).models == {"extractive"}
    with pytest.raises(ConfigError, match="user"):
        await local.keys.update(made.key.id, {"user": "ann"}, actor=ME)
    assert (await local.keys.update(made.key.id, {"models": None}, actor=ME)).models is None


async def test_last_use_is_written_in_batches_and_without_a_new_revision(catalog: Catalog, opener: Opener) -> None:
    made = await catalog.keys.create({"name": "k"}, actor=ME)
    before = catalog.snapshot
    earliest = time.time()
    for _ in range(1000):
        catalog.touch(made.key.id)
    catalog.touch("unknown-key")
    (key,) = [key for key in await catalog.keys.list() if key.id == made.key.id]
    assert key.last_used_at is not None
    assert earliest <= key.last_used_at <= time.time()
    assert catalog.snapshot is before
    other = await opener()
    assert (await other.keys.get(made.key.id)).last_used_at == key.last_used_at


async def test_touching_before_closing_is_not_lost(catalog: Catalog, opener: Opener) -> None:
    made = await catalog.keys.create({"name": "k"}, actor=ME)
    catalog.touch(made.key.id)
    await catalog.close()
    assert (await (await opener()).keys.get(made.key.id)).last_used_at is not None


async def test_deleting_a_user_deletes_its_keys(catalog: Catalog) -> None:
    await catalog.users.create({"name": "ann"}, actor=ME)
    made = await catalog.keys.create({"name": "k", "user": "ann"}, actor=ME)
    plan = await catalog.users.delete("ann", actor=ME, dry_run=True)
    assert plan.keys == (made.key.id,)
    assert catalog.authenticate(made.token)
    await catalog.users.delete("ann", actor=ME)
    with pytest.raises(Unauthenticated):
        catalog.authenticate(made.token)
    with pytest.raises(NotFound):
        catalog.users.get("ann")


async def test_the_last_way_in_is_not_closed_without_a_word(local: Catalog) -> None:
    plan = await local.users.delete("admin", actor=ME, dry_run=True)
    assert "no admin key" in plan.warnings[0]
    (key,) = await local.keys.list(user="admin")
    assert (await local.keys.revoke(key.id, actor=ME)).warnings


async def test_a_user_is_named_once(catalog: Catalog) -> None:
    with pytest.raises(Conflict):
        await catalog.users.create({"name": "admin"}, actor=ME)


async def test_a_new_catalog_has_an_admin_key_in_a_private_file(catalog: Catalog, tmp_path: Path) -> None:
    file = tmp_path / "admin.key"
    assert file.stat().st_mode & 0o777 == 0o600
    assert catalog.authenticate(file.read_text().strip()).role == "admin"


async def test_a_lost_admin_key_is_made_anew_and_the_old_one_stops(catalog: Catalog, tmp_path: Path) -> None:
    old = (tmp_path / "admin.key").read_text().strip()
    await catalog.users.update("admin", {"disabled": True}, actor=ME)
    (tmp_path / "admin.key").unlink()
    token = await catalog.reset_admin_key()
    assert (tmp_path / "admin.key").read_text().strip() == token
    assert catalog.authenticate(token).role == "admin"
    with pytest.raises(Unauthenticated):
        catalog.authenticate(old)


async def test_opening_again_makes_no_second_admin_key(catalog: Catalog, opener: Opener, tmp_path: Path) -> None:
    before = (tmp_path / "admin.key").read_text()
    again = await opener()
    assert len(await again.keys.list()) == 1
    assert (tmp_path / "admin.key").read_text() == before


async def test_authentication_is_cheap(local: Catalog) -> None:
    made = await local.keys.create({"name": "k"}, actor=ME)
    snapshot, token = local.snapshot, made.token
    rounds = []
    for _ in range(20):
        started = time.perf_counter()
        for _ in range(200):
            authenticate(snapshot, token)
        rounds.append((time.perf_counter() - started) / 200)
    assert min(rounds) < 10e-6, f"{min(rounds) * 1e6:.1f} µs"
