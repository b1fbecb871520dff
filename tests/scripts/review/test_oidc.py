"""Signing in by OpenID Connect at a real provider over HTTP: roles by claim; whatever is not right is refused."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from joserfc.jwk import RSAKey
from starlette.testclient import TestClient
from support.database_servers import DatabaseServer
from support.database_users import url_of, users
from support.oidc_server import CLIENT, SECRET, OidcServer
from support.review_site import Site, add_accounts, site

from sniffer.adapters.mysql.database import Database
from sniffer.core.review_accounts import ReviewRole
from sniffer.core.review_settings import ReviewSettings, review_settings

URL = "https://review.example.com"


@pytest.fixture(scope="module")
def provider() -> Iterator[OidcServer]:
    with OidcServer() as server:
        yield server


@pytest.fixture
def page(
    provider: OidcServer, database: Database, database_url: str, database_server: DatabaseServer
) -> Iterator[Site]:
    provider.claims = {"sub": "4711", "preferred_username": "ann", "groups": ["staff", "moderation"]}
    provider.spoilt, provider.signing_key = {}, provider.key
    environ = {
        "SNIFFER_REVIEW_URL": URL,
        "SNIFFER_REVIEW_OIDC_ISSUER": provider.url,
        "SNIFFER_REVIEW_OIDC_CLIENT_ID": CLIENT,
        "SNIFFER_REVIEW_OIDC_CLIENT_SECRET": SECRET,
        "SNIFFER_REVIEW_OIDC_ROLES": "reviewer=moderation,lead=moderation-leads,auditor=audit",
    }
    settings: ReviewSettings = review_settings("0.0.0.0", 8090, environ)
    with (
        users(database_server, database_url, "sniffer_review"),
        site(url_of(database_url, "sniffer_review"), settings) as found,
    ):
        yield found


def to_provider(client: TestClient) -> str:
    """Begin, and let the provider answer; returns the address that it sends the browser back to."""
    begun = client.get("/login/oidc")
    assert begun.status_code == 303
    return httpx2.get(begun.headers["location"]).headers["location"].removeprefix(URL)


def test_the_role_is_the_claims_and_follows_it(page: Site, provider: OidcServer, database: Database) -> None:
    client = page.client()
    done = client.get(to_provider(client))
    assert done.status_code == 303 and "__Host-sniffer-review-session" in done.headers["set-cookie"]
    assert "Secure" in done.headers["set-cookie"] and "strict-transport-security" in done.headers
    assert client.get("/review").status_code == 200 and client.get("/log").status_code == 403
    provider.claims["groups"] = "moderation-leads"
    provider.claims["preferred_username"] = "renamed"
    other = page.client()
    assert other.get(to_provider(other)).status_code == 303
    assert other.get("/log").status_code == 200
    account = database.review_accounts.get("ann")
    assert account is not None and account.role is ReviewRole.LEAD and account.password_hash is None
    assert client.get("/review").headers["location"] == "/login"  # a new role ends old sessions


def test_what_is_not_right_is_refused(page: Site, provider: OidcServer, database: Database) -> None:
    victim, attacker = page.client(), page.client()
    # The answer of another browser's sign-in, and the same answer twice.
    assert victim.get(to_provider(attacker)).status_code == 403
    back = to_provider(victim)
    state = parse_qs(urlsplit(back).query)["state"][0]
    assert victim.get(back.replace(state, state[::-1])).status_code == 403
    back = to_provider(victim)
    assert victim.get(back).status_code == 303
    victim.cookies.clear()
    assert victim.get(back).status_code == 403
    # Tokens that are another's, old, of another nonce, or signed by somebody else.
    for spoilt in (
        {"aud": "another"},
        {"iss": "https://evil.example"},
        {"nonce": "another"},
        {"exp": 1},
        {"sub": None},
        {"groups": ["staff"]},
        {"groups": None},
        {"preferred_username": "<script>"},
    ):
        provider.spoilt = spoilt
        client = page.client()
        refused = client.get(to_provider(client))
        assert refused.status_code == 403 and "set-cookie" in refused.headers, spoilt
        assert client.get("/review").headers["location"] == "/login", spoilt
    provider.spoilt = {}
    provider.signing_key = RSAKey.generate_key(2048, private=True)
    client = page.client()
    assert client.get(to_provider(client)).status_code == 403
    provider.signing_key = provider.key
    # A code that is none, and a refusal of the provider's.
    client = page.client()
    back = to_provider(client)
    assert (
        client.get(f"{back[: back.index('?')]}?state={parse_qs(urlsplit(back).query)['state'][0]}").status_code == 403
    )
    # Whoever has the name of a local account does not become it.
    add_accounts(database, bob="lead")
    provider.claims = {"sub": "666", "preferred_username": "bob", "groups": ["moderation"]}
    client = page.client()
    assert client.get(to_provider(client)).status_code == 403
    assert [entry.action for entry in database.review_log.latest(1)] == ["login_failed"]
