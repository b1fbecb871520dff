"""The review page as a browser uses it, over HTTP: signs in, reads what is shown, and sends the page's own forms."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html.parser import HTMLParser
from types import TracebackType
from typing import Self
from urllib.parse import urljoin

import requests

from sniffer.core.errors import SettingsError, TransientError
from sniffer.core.review_records import Reason, ReviewDecision
from sniffer.core.text import one_line

REQUEST_TIMEOUT_S = 60.0
_TICKED = ("radio", "checkbox")
_WAITING = re.compile(r"([\d,]+) wait\.")


@dataclass(frozen=True, slots=True)
class Form:
    """A form as a browser would send it: where to, and its fields as they are filled in when the page comes."""

    action: str
    fields: tuple[tuple[str, str], ...]

    def filled_in(self, **values: str) -> list[tuple[str, str]]:
        """Its fields with these in place of those of the same name."""
        return [(name, value) for name, value in self.fields if name not in values] + list(values.items())


@dataclass(frozen=True, slots=True)
class ImageOnPage:
    """An image of the page: its number, and `bucket/key` as the page writes it, where odd characters are escapes."""

    image_id: int
    where: str


@dataclass(frozen=True, slots=True)
class BatchOnPage:
    """What the page has before its reviewer: at least one image, and how many wait in all."""

    images: tuple[ImageOnPage, ...]
    waiting: int
    decide: Form
    skip: Form


class ReviewBrowser:
    """One person's browser. A page that does not answer, or refuses what a person may do, is a TransientError."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._session = requests.Session()
        self._session.trust_env = False  # a proxy of the user's has no business on the loopback
        self._session.headers["Origin"] = url

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._session.close()

    def log_in(self, name: str, password: str) -> None:
        """Sign in; SettingsError when the page does not take this name with this password."""
        page = self._open("GET", "/login")
        answer = self._ask("POST", "/login", page.forms["/login"].filled_in(name=name, password=password))
        if answer.status_code in (401, 429):
            problem = " ".join(_Page(answer.text).told.split())
            raise SettingsError(f"the review page at {self._url} does not sign in {name}: {one_line(problem)}")
        self._read(answer, "/login")

    def log_out(self) -> None:
        """Sign out, which gives back what is open."""
        page = self._open("GET", "/figures")
        self._open("POST", "/logout", page.forms["/logout"].fields)

    def next_batch(self, *, for_lead: bool = False) -> BatchOnPage | None:
        """What comes first for this person, or waits for a lead; None when nothing does."""
        return self._batch(self._open("GET", "/review?lead=1" if for_lead else "/review"))

    def look(self, batch: BatchOnPage) -> int:
        """Load the pictures, blurred, as a browser does that shows the page; returns how many could be had."""
        answers = [self._ask("GET", f"/images/{image.image_id}/covered") for image in batch.images]
        return sum(answer.ok for answer in answers)

    def decide(
        self, batch: BatchOnPage, decision: ReviewDecision, reason: Reason | None = None, left_out: Sequence[int] = ()
    ) -> BatchOnPage | None:
        """Send the decision of all images but those left out; returns what comes next. It is saved by then."""
        fields = batch.decide.filled_in(decision=str(decision), **({"reason": str(reason)} if reason else {}))
        fields += [("left_out", str(image_id)) for image_id in left_out]
        return self._batch(self._open("POST", batch.decide.action, fields))

    def skip(self, batch: BatchOnPage) -> BatchOnPage | None:
        """Go on without a decision; returns what comes next."""
        return self._batch(self._open("POST", batch.skip.action, batch.skip.fields))

    def _batch(self, page: _Page) -> BatchOnPage | None:
        if not page.images:
            return None
        waiting = _WAITING.search(page.told)
        if waiting is None:
            raise TransientError(f"the review page at {self._url} does not say how many images wait: {page.told!r}")
        number = int(waiting[1].replace(",", ""))
        return BatchOnPage(tuple(page.images), number, page.forms["decide"], page.forms["skip"])

    def _open(self, method: str, path: str, fields: Sequence[tuple[str, str]] | None = None) -> _Page:
        return self._read(self._ask(method, path, fields), path)

    def _read(self, answer: requests.Response, path: str) -> _Page:
        page = _Page(answer.text)
        if not answer.ok:
            told = one_line(" ".join(page.told.split()) or answer.text)
            raise TransientError(f"the review page at {self._url} answers {path} with {answer.status_code}: {told}")
        return page

    def _ask(self, method: str, path: str, fields: Sequence[tuple[str, str]] | None = None) -> requests.Response:
        data = None if fields is None else list(fields)
        try:
            return self._session.request(method, urljoin(self._url, path), data=data, timeout=REQUEST_TIMEOUT_S)
        except requests.RequestException as error:
            raise TransientError(f"the review page at {self._url} does not answer: {one_line(error)}") from error


class _Page(HTMLParser):
    """Forms by their id, or else by where they go; images; and what the page tells in its status and alerts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.forms: dict[str, Form] = {}
        self.images: list[ImageOnPage] = []
        self.told = ""
        self._form: tuple[str, str] | None = None
        self._fields: list[tuple[str, str]] = []
        self._image_id: int | None = None
        self._key: list[str] | None = None
        self._telling = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element begins."""
        has = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._form, self._fields = (has.get("id") or has.get("action", ""), has.get("action", "")), []
        elif tag == "input" and "name" in has and (has.get("type") not in _TICKED or "checked" in has):
            self._fields.append((has["name"], has.get("value", "")))
        elif tag == "textarea":
            self._fields.append((has["name"], ""))
        elif tag == "figure" and "data-image" in has:
            self._image_id = int(has["data-image"])
        elif tag == "span" and has.get("class") == "key" and self._image_id is not None:
            self._key = []
        if has.get("role") in ("status", "alert"):
            self._telling = tag

    def handle_endtag(self, tag: str) -> None:
        """An element ends."""
        if tag == "form" and self._form is not None:
            name, action = self._form
            self.forms[name], self._form = Form(action, tuple(self._fields)), None
        elif tag == "span" and self._key is not None and self._image_id is not None:
            self.images.append(ImageOnPage(self._image_id, "".join(self._key)))
            self._key = self._image_id = None
        if tag == self._telling:
            self._telling = ""

    def handle_data(self, data: str) -> None:
        """Text."""
        if self._key is not None:
            self._key.append(data)
        if self._telling:
            self.told += data
