"""A user's own credentials for plugins, entered with the unmodified client."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from byom.catalog.catalog import Catalog
from byom.catalog.user_credentials import of_connection
from byom.settings import Settings
from tests.dialects.dataiku.clients import ClientError
from tests.dialects.dataiku.conftest import Run
from tests.dialects.dataiku.serving import Served

LOGIN = ("my-plugin", "custom-set", "OpenAI", "login")
KEY = ("my-plugin", "custom-set", "OpenAI", "api_key")
NAMES = [", ".join(f'"{part}"' for part in ("PLUGIN", *place)) for place in (KEY, LOGIN)]
REMOVE = f"""
    settings = client.get_own_user().get_settings()
    settings.remove_plugin_credential(*{LOGIN!r})
    settings.remove_plugin_credential(*{KEY!r})
    settings.save()
    return client.get_own_user().get_settings().get_raw()["credentials"]
"""


def stored(hub: Served) -> dict[str, Any]:
    """In clear, as the process of the plugin gets them: preset → field → value, of the user ``ann``."""

    async def read() -> dict[str, Any]:
        async with Catalog.session(Settings(home=hub.home)) as catalog:
            ann = catalog.users.get("ann").id
            found = of_connection(catalog._vault, catalog.state, "plug")
            return found.get(ann, {})

    return asyncio.run(read())


def test_a_credential_is_saved_for_the_caller_and_never_shown(run: Run, hub: Served) -> None:
    shown = run(f"""
        settings = client.get_own_user().get_settings()
        settings.set_basic_plugin_credential(*{LOGIN!r}, "ann@example.org", "a-password")
        settings.set_basic_plugin_credential(*{KEY!r}, "", "a-secret")
        settings.save()
        return client.get_own_user().get_settings().get_raw()["credentials"]
    """)
    assert shown == dict(zip(NAMES, [{"type": "SINGLE_FIELD"}, {"type": "BASIC"}], strict=True))
    login = {"user": "ann@example.org", "password": "a-password"}
    assert stored(hub) == {"OpenAI": {"login": login, "api_key": "a-secret"}}

    run("""
        settings = client.get_own_user().get_settings()
        settings.save()
    """)
    assert stored(hub) == {"OpenAI": {"login": login, "api_key": "a-secret"}}
    assert run("return client.get_own_user().get_settings().get_raw()['credentials']", key=hub.admin_key) == {}
    assert run(REMOVE) == {}
    assert stored(hub) == {}


def test_a_credential_that_nothing_asks_for_is_an_error_with_those_that_are(run: Run, hub: Served) -> None:
    with pytest.raises(ClientError, match=r"^credential_not_found: .*my-plugin.*login") as caught:
        run("""
            settings = client.get_own_user().get_settings()
            settings.set_basic_plugin_credential("my-plugin", "custom-set", "OpenAI", "lgin", "ann", "a-password")
            settings.save()
        """)
    assert "a-password" not in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        'settings.add_secret("name", "value")',
        'settings.set_basic_connection_credential("box", "ann", "password")',
        f'settings.set_oauth2_plugin_credential(*{KEY!r}, "token")',
    ],
)
def test_what_would_not_be_kept_is_refused(run: Run, hub: Served, change: str) -> None:
    with pytest.raises(ClientError, match="not_supported"):
        run(f"""
            settings = client.get_own_user().get_settings()
            {change}
            settings.save()
        """)
    assert stored(hub) == {}
