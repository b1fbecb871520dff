"""What axe-core finds wrong with a page that a browser shows."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files

from sniffer_local.browser import Page


def serious_findings(page: Page) -> list[str]:
    """Each finding that keeps somebody from reading or using the page, with the elements that it is about."""
    page.run(f"{_axe()}\n; true")
    found = page.run(
        "axe.run(document, {resultTypes: ['violations']}).then(result => JSON.stringify(result.violations.map("
        "one => [one.impact, one.id, one.nodes.map(node => node.target.join(' '))])))"
    )
    return [
        f"{name}: {', '.join(nodes)}" for impact, name, nodes in json.loads(found) if impact in ("serious", "critical")
    ]


@cache
def _axe() -> str:
    return files("axe_core_python").joinpath("axe.min.js").read_text(encoding="utf-8")
