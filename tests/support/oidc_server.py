"""A small OpenID Connect provider over HTTP: discovery, keys, codes bound to PKCE, signed tokens, and its faults."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey

from support.http_server import HttpAnswer, HttpRequest, HttpServer

CLIENT, SECRET = "sniffer-review", "the provider knows us by this"


class OidcServer(HttpServer):
    """Signs in whoever `claims` says, without asking."""

    def __init__(self) -> None:
        super().__init__()
        self.key = RSAKey.generate_key(2048, parameters={"kid": "one", "use": "sig", "alg": "RS256"}, private=True)
        self.claims: dict[str, Any] = {}
        self.spoilt: dict[str, Any] = {}
        """Put over the token's claims: what an attacker or a broken provider would send."""
        self.signing_key = self.key
        self._codes: dict[str, dict[str, str]] = {}

    def respond(self, request: HttpRequest) -> HttpAnswer:
        """As the OpenID Connect Core and Discovery specifications have it."""
        path, given = urlsplit(request.path).path, parse_qs(urlsplit(request.path).query)
        match path:
            case "/.well-known/openid-configuration":
                return self._json(
                    {
                        "issuer": self.url,
                        "authorization_endpoint": f"{self.url}/authorize",
                        "token_endpoint": f"{self.url}/token",
                        "jwks_uri": f"{self.url}/keys",
                    }
                )
            case "/keys":
                return self._json(KeySet([self.key]).as_dict(private=False))
            case "/authorize":
                asked = {name: values[0] for name, values in given.items()}
                assert asked["response_type"] == "code" and asked["client_id"] == CLIENT
                assert asked["code_challenge_method"] == "S256" and "openid" in asked["scope"].split()
                code = secrets.token_urlsafe(16)
                self._codes[code] = asked
                back = f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}"
                return HttpAnswer(302, b"", [("Location", back)])
            case "/token":
                return self._token(request)
        return HttpAnswer(404, b"")

    def _token(self, request: HttpRequest) -> HttpAnswer:
        sent = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
        authorization = {name.lower(): value for name, value in request.headers.items()}.get("authorization", "")
        given = base64.b64decode(authorization.removeprefix("Basic ")).decode()
        asked = self._codes.pop(sent.get("code", ""), None)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(sent.get("code_verifier", "").encode()).digest())
        if given != f"{CLIENT}:{SECRET}":
            return self._json({"error": "invalid_client"}, 401)
        if asked is None or challenge.decode().rstrip("=") != asked["code_challenge"]:
            return self._json({"error": "invalid_grant"}, 400)
        now = int(time.time())
        claims = {
            **{"iss": self.url, "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": asked["nonce"]},
            **self.claims,
            **self.spoilt,
        }
        token = jwt.encode({"alg": "RS256", "kid": "one"}, claims, self.signing_key)
        return self._json({"access_token": "a", "token_type": "Bearer", "id_token": token})

    @staticmethod
    def _json(value: object, status: int = 200) -> HttpAnswer:
        return HttpAnswer(status, json.dumps(value).encode(), [("Content-Type", "application/json")])
