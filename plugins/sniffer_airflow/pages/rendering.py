"""From records to HTML: jinja2 with everything escaped, and foreign texts made visible."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from sniffer.core.text import printable
from sniffer_airflow.pages.message import HEADERS

_TEMPLATES = Path(__file__).with_name("templates")


@functools.cache
def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["printable"] = printable
    made.filters["count"] = lambda number: f"{number:,}"
    made.filters["percent"] = lambda share, digits=2: "–" if share is None else f"{share:.{digits}%}"
    return made


def page(template: str, **values: Any) -> HTMLResponse:
    """That template with these values, as a page that may load nothing and is kept nowhere."""
    return HTMLResponse(_environment().get_template(template).render(values), headers=HEADERS)
