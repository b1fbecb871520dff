"""Signing in by OpenID Connect: the authorization code flow with state, nonce and PKCE, by authlib.

The provider is asked when somebody signs in, not before: the page starts without it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import httpx2
from authlib.integrations.httpx_client import OAuth2Client
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from sniffer.core.errors import SettingsError, TransientError
from sniffer.core.review_accounts import OidcLogin, ReviewRole, account_name
from sniffer.core.review_settings import OidcSettings
from sniffer.core.text import one_line

_SIGNATURES = ["RS256", "PS256", "ES256", "EdDSA"]
"""None that is made with a secret that both sides know, and not `none`."""
_TIMEOUT_S = 10.0
_KNOWN_FOR_S = 600.0
_LEEWAY_S = 60
_STRONGEST_FIRST = (ReviewRole.LEAD, ReviewRole.AUDITOR, ReviewRole.REVIEWER)


@dataclass(frozen=True, slots=True)
class OidcPerson:
    """Who has signed in at the provider. `subject` is unique over all providers."""

    subject: str
    name: str
    role: ReviewRole


@dataclass(frozen=True, slots=True)
class _Provider:
    authorization_endpoint: str
    token_endpoint: str
    keys: KeySet
    asked_at: float


class OidcProvider:
    """One provider. Its addresses and keys are asked for again after ten minutes, and for an unknown key."""

    def __init__(self, settings: OidcSettings, redirect_url: str) -> None:
        self._settings = settings
        self._redirect_url = redirect_url
        self._known: _Provider | None = None

    def begin(self, state: str, login: OidcLogin) -> str:
        """Where to send the person's browser."""
        with self._client() as client:
            url, _ = client.create_authorization_url(
                self._provider().authorization_endpoint, state=state, nonce=login.nonce, code_verifier=login.verifier
            )
        return str(url)

    def finish(self, code: str, login: OidcLogin) -> OidcPerson:
        """Who it is that came back with this code. SettingsError when we do not let this person in."""
        provider = self._provider()
        with self._client() as client:
            try:
                answer = client.fetch_token(
                    provider.token_endpoint, grant_type="authorization_code", code=code, code_verifier=login.verifier
                )
            except httpx2.HTTPError as error:
                raise TransientError(f"the provider does not answer: {one_line(error)}") from error
            except Exception as error:
                if type(error).__module__.startswith("authlib."):
                    raise SettingsError(f"the provider refuses the code: {one_line(error)}") from error
                raise
        return self._person(self._claims(str(answer.get("id_token", "")), login))

    def _claims(self, token: str, login: OidcLogin) -> dict[str, Any]:
        settings = self._settings
        try:
            claims = self._decoded(token)
            checked = CodeIDToken(
                claims,
                {},
                {
                    "iss": {"essential": True, "value": settings.issuer},
                    "aud": {"essential": True, "value": settings.client_id},
                    "nonce": {"essential": True, "value": login.nonce},
                },
                {"nonce": login.nonce, "client_id": settings.client_id},
            )
            checked.validate(now=int(time.time()), leeway=_LEEWAY_S)
        except (JoseError, ValueError) as error:
            raise SettingsError(f"the provider's token is not valid: {one_line(error)}") from error
        except Exception as error:
            if type(error).__module__.startswith("authlib."):
                raise SettingsError(f"the provider's token is not valid: {one_line(error)}") from error
            raise
        return claims

    def _decoded(self, token: str) -> dict[str, Any]:
        try:
            return dict(jwt.decode(token, self._provider().keys, algorithms=_SIGNATURES).claims)
        except (JoseError, ValueError):
            # The provider may have changed its keys since they were asked for.
            self._known = None
            return dict(jwt.decode(token, self._provider().keys, algorithms=_SIGNATURES).claims)

    def _person(self, claims: dict[str, Any]) -> OidcPerson:
        settings = self._settings
        name, given = claims.get(settings.name_claim), claims.get(settings.role_claim, [])
        if not isinstance(name, str):
            raise SettingsError(f"the provider's token has no claim {settings.name_claim!r} with a name")
        groups = [given] if isinstance(given, str) else given
        if not isinstance(groups, list):
            raise SettingsError(f"the provider's claim {settings.role_claim!r} is no list of groups")
        roles = {settings.roles[group] for group in groups if isinstance(group, str) and group in settings.roles}
        role = next((role for role in _STRONGEST_FIRST if role in roles), None)
        if role is None:
            raise SettingsError(f"{one_line(name, 100)} has no role in the review page: ask whoever keeps its groups")
        return OidcPerson(f"{settings.issuer} {claims['sub']}", account_name(name), role)

    def _provider(self) -> _Provider:
        if self._known is None or time.monotonic() - self._known.asked_at > _KNOWN_FOR_S:
            self._known = self._asked()
        return self._known

    def _asked(self) -> _Provider:
        issuer = self._settings.issuer
        try:
            with httpx2.Client(timeout=_TIMEOUT_S) as client:
                said = client.get(f"{issuer}/.well-known/openid-configuration").raise_for_status().json()
                if said["issuer"].rstrip("/") != issuer:
                    raise SettingsError(f"the provider {issuer} calls itself {one_line(said['issuer'])}")
                keys = KeySet.import_key_set(client.get(said["jwks_uri"]).raise_for_status().json())
        except httpx2.HTTPError as error:
            raise TransientError(f"the provider {issuer} does not answer: {one_line(error)}") from error
        except (KeyError, TypeError, ValueError, JoseError) as error:
            raise TransientError(f"the provider {issuer} does not describe itself: {one_line(error)}") from error
        return _Provider(said["authorization_endpoint"], said["token_endpoint"], keys, time.monotonic())

    def _client(self) -> OAuth2Client:
        return OAuth2Client(
            self._settings.client_id,
            self._settings.client_secret,
            scope="openid profile email",
            redirect_uri=self._redirect_url,
            code_challenge_method="S256",
            timeout=_TIMEOUT_S,
        )
