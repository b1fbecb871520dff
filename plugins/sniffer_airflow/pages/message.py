"""What every page of ours is sent with, and a page that holds one message."""

from __future__ import annotations

from html import escape

from fastapi.responses import HTMLResponse

HEADERS = {
    # A page loads nothing; should an image's name ever smuggle a script into it, it would not run.
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    # Users' pictures stay in no cache, and are gone when the session is.
    "Cache-Control": "private, no-store",
}

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ margin: 2rem auto; max-width: 40rem; padding: 0 1rem; font: 16px/1.5 system-ui, sans-serif; }}
h1 {{ font-size: 1.25rem; }}
</style>
</head>
<body><main><h1>{title}</h1><p>{text}</p></main></body>
</html>
"""


def message(status: int, title: str, text: str) -> HTMLResponse:
    """A page with that title and text, which may hold anything."""
    return HTMLResponse(_PAGE.format(title=escape(title), text=escape(text)), status, headers=HEADERS)
