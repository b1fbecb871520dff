"""From records to HTML: jinja2 with everything escaped, and foreign texts made visible."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse

from sniffer.core.review_accounts import ReviewSession
from sniffer.core.text import printable
from sniffer.review.web.parts import parts_of

FOLDER = Path(__file__).parent
STATIC = FOLDER / "static"


@functools.cache
def _templates() -> Environment:
    made = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["printable"] = printable
    made.globals["asset"] = _asset
    return made


@functools.cache
def _asset(name: str) -> str:
    """The path of a static file, which changes with its contents, so that browsers may keep it."""
    digest = hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]
    return f"/static/{name}?{digest}"


def page(
    request: Request, template: str, session: ReviewSession | None, status: int = 200, **values: Any
) -> HTMLResponse:
    """A page for that person."""
    values |= {"session": session, "has_oidc": parts_of(request).oidc is not None, "path": request.url.path}
    return HTMLResponse(_templates().get_template(template).render(values), status)


def message(
    request: Request, title: str, text: str, status: int, session: ReviewSession | None = None, back: str = "/review"
) -> HTMLResponse:
    """A page with one message and the way back."""
    return page(request, "message.html", session, status, title=title, text=text, back=back)
