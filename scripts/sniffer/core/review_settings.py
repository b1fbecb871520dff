"""Settings of the review page, from the environment: validated here, passed down as frozen dataclasses."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from sniffer.core import variables as var
from sniffer.core.errors import SettingsError
from sniffer.core.redaction import KNOWN
from sniffer.core.review_accounts import ReviewRole
from sniffer.core.review_records import NO_SECOND_REVIEW, SecondReview

LOOPBACK = ("127.0.0.1", "localhost", "::1")
SMALLEST_WEBHOOK_SECRET = 32


@dataclass(frozen=True, slots=True)
class OidcSettings:
    """The provider, who we are there, and which of its groups is which role of ours."""

    issuer: str
    client_id: str
    client_secret: str = field(repr=False)
    name_claim: str
    role_claim: str
    roles: Mapping[str, ReviewRole]


@dataclass(frozen=True, slots=True)
class ReviewSettings:
    """`url` is the origin at which people reach the page, without a slash at its end."""

    url: str
    proxies: tuple[str, ...] = ()
    lease_s: float = var.REVIEW_LEASE_S.default
    break_after: int = var.REVIEW_BREAK_AFTER.default
    second: SecondReview = NO_SECOND_REVIEW
    oidc: OidcSettings | None = None
    webhook_secret: str = field(default="", repr=False)
    coop_key: str = ""
    keep_to: str = ""

    @property
    def is_https(self) -> bool:
        """Whether cookies can be kept from ever going out unencrypted."""
        return self.url.startswith("https://")


def review_settings(host: str, port: int, environ: Mapping[str, str] = os.environ) -> ReviewSettings:
    """Of a page that listens there. SettingsError for an address that people cannot use, or half of a provider."""
    url = var.REVIEW_URL.read(environ).rstrip("/")
    if not url:
        if host not in LOOPBACK:
            raise SettingsError(
                f"the review page is to listen on {host}, which is not this machine alone: SNIFFER_REVIEW_URL must say "
                f"at which address people reach it, for example {var.REVIEW_URL.example}"
            )
        url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    _check_url(url)
    proxies = tuple(part.strip() for part in var.REVIEW_PROXIES.read(environ).split(",") if part.strip())
    return ReviewSettings(
        url,
        proxies,
        var.REVIEW_LEASE_S.read(environ),
        var.REVIEW_BREAK_AFTER.read(environ),
        _second(environ),
        _oidc(environ),
        _webhook_secret(environ),
        var.REVIEW_COOP_KEY.read(environ),
        var.REVIEW_KEEP_TO.read(environ),
    )


def _check_url(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path or parts.query or "@" in parts.netloc:
        raise SettingsError(
            f"SNIFFER_REVIEW_URL must be an address without a path, such as {var.REVIEW_URL.example}, not {url!r}"
        )
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        raise SettingsError(
            f"SNIFFER_REVIEW_URL is {url}: passwords and images would cross the network unencrypted. Put a proxy with "
            "TLS before the page, and name its https:// address"
        )


def _second(environ: Mapping[str, str]) -> SecondReview:
    secret = var.REVIEW_SECOND_SECRET.read(environ)
    KNOWN.learn(secret)
    return SecondReview(var.REVIEW_SECOND_SHARE.read(environ), secret)


def _webhook_secret(environ: Mapping[str, str]) -> str:
    secret = var.REVIEW_WEBHOOK_SECRET.read(environ)
    KNOWN.learn(secret)
    if secret and len(secret) < SMALLEST_WEBHOOK_SECRET:
        raise SettingsError(
            f"SNIFFER_REVIEW_WEBHOOK_SECRET needs at least {SMALLEST_WEBHOOK_SECRET} characters: make one with "
            "`openssl rand -hex 32`"
        )
    return secret


def _oidc(environ: Mapping[str, str]) -> OidcSettings | None:
    issuer, client = var.REVIEW_OIDC_ISSUER.read(environ).rstrip("/"), var.REVIEW_OIDC_CLIENT_ID.read(environ)
    secret = var.REVIEW_OIDC_CLIENT_SECRET.read(environ)
    if not (issuer or client or secret):
        return None
    if not (issuer and client and secret):
        raise SettingsError(
            "signing in by OpenID Connect needs all of SNIFFER_REVIEW_OIDC_ISSUER, SNIFFER_REVIEW_OIDC_CLIENT_ID and "
            "SNIFFER_REVIEW_OIDC_CLIENT_SECRET"
        )
    parts = urlsplit(issuer)
    if parts.scheme != "https" and parts.hostname not in LOOPBACK:
        raise SettingsError(f"SNIFFER_REVIEW_OIDC_ISSUER must be an https:// address, not {issuer!r}")
    KNOWN.learn(secret)
    return OidcSettings(
        issuer,
        client,
        secret,
        var.REVIEW_OIDC_NAME_CLAIM.read(environ),
        var.REVIEW_OIDC_ROLE_CLAIM.read(environ),
        _roles(var.REVIEW_OIDC_ROLES.read(environ)),
    )


def _roles(text: str) -> dict[str, ReviewRole]:
    found: dict[str, ReviewRole] = {}
    for pair in text.split(","):
        role, _, group = pair.strip().partition("=")
        if role not in set(ReviewRole) or not group.strip():
            raise SettingsError(
                f"SNIFFER_REVIEW_OIDC_ROLES must look like {var.REVIEW_OIDC_ROLES.default}, and has {pair.strip()!r}"
            )
        found[group.strip()] = ReviewRole(role)
    return found
