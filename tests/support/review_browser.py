"""The review page by keyboard, in a real browser."""

from __future__ import annotations

from sniffer_local.browser import Page
from support.review_site import PASSWORD

READY = "document.readyState === 'complete' && [...document.images].every(image => image.complete)"
TOLD = "document.querySelector('[role=status]').textContent"


def sign_in(page: Page, url: str, name: str) -> None:
    page.open(f"{url}/login")
    page.wait_for("document.querySelector('[name=password]')")
    page.run("document.querySelector('[name=name]').focus()")
    page.type(name)
    page.press("Tab")
    page.type(PASSWORD)
    page.press("Tab")
    page.run("document.querySelector('form.login').requestSubmit()")
    page.wait_for(f"location.pathname === '/review' && {READY}")


def shown(page: Page) -> list[str]:
    found: list[str] = page.run("[...document.querySelectorAll('figure')].map(one => one.dataset.image)")
    return found


def press(page: Page, key: str) -> None:
    """A key that sends a form; returns when the next page is there."""
    page.run("window.isOld = true")
    page.press(key)
    page.wait_for(f"!window.isOld && {READY}")
