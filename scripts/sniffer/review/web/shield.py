"""What every request and every answer of the review page must have, before and after any route sees it."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_BODY_BYTES = 1 << 20
"""A webhook's; a form is far smaller."""
HEALTH = "/healthz"
WEBHOOK, COOP_WEBHOOK = "/webhook", "/webhook/coop"

_POLICY = (
    "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
_ALWAYS: Mapping[str, str] = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not `no-referrer`, with which browsers hide from us where a form comes from.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
    "X-Robots-Tag": "noindex, nofollow",
    "Cache-Control": "no-store",
}
_TRUSTED_SITES = ("same-origin", "none")


class Shield:
    """An ASGI middleware: refuses foreign hosts, foreign forms and endless bodies, and adds the security headers."""

    def __init__(self, app: ASGIApp, *, url: str) -> None:
        self._app = app
        self._url = url
        self._host = urlsplit(url).netloc
        self._is_https = url.startswith("https://")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or let the routes answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_shielded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _ALWAYS.items():
                    headers.setdefault(name, value)
                if self._is_https:
                    headers["Strict-Transport-Security"] = "max-age=63072000"
            await send(message)

        problem = self._problem(scope)
        answering = self._app if problem is None else problem
        await answering(scope, receive, send_shielded)

    def _problem(self, scope: Scope) -> PlainTextResponse | None:
        headers = Headers(scope=scope)
        if scope["path"] == HEALTH:
            return None
        # A name that points to our address must not make a foreign page ours (DNS rebinding).
        if headers.get("host", "") != self._host:
            return PlainTextResponse(f"this is {self._url}\n", 421)
        if scope["method"] in ("GET", "HEAD"):
            return None
        if scope["method"] != "POST":
            return PlainTextResponse("only GET and POST are answered\n", 405)
        origin = headers.get("origin")
        is_foreign = (origin is not None and origin != self._url) or (
            headers.get("sec-fetch-site", "none") not in _TRUSTED_SITES
        )
        # A webhook's message is known by its signature, wherever it is from; no cookie gives it any right.
        if is_foreign and scope["path"] not in (WEBHOOK, COOP_WEBHOOK):
            return PlainTextResponse("this form was sent from another site\n", 403)
        length = headers.get("content-length", "")
        if not (length.isascii() and length.isdigit()):
            return PlainTextResponse("a body without a length\n", 411)
        return PlainTextResponse("a body above 1 MiB\n", 413) if int(length) > MOST_BODY_BYTES else None
