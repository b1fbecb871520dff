"""A small S3 of its own over HTTP, whose every answer a test can replace by a lie."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import parse_qs, quote_plus, unquote, urlsplit

from support.http_server import HttpAnswer, HttpRequest, HttpServer

MODIFIED = datetime(2026, 11, 20, 6, 0, tzinfo=UTC)
XML = [("Content-Type", "application/xml")]
BACKEND_PAGE = b"<html><head><title>404</title></head><body>default backend - 404</body></html>"


@dataclass
class Stored:
    """One object as it is listed and given."""

    body: bytes
    etag: str = ""
    modified: datetime = MODIFIED
    listed_xml: str = "<StorageClass>STANDARD</StorageClass>"

    def __post_init__(self) -> None:
        self.etag = self.etag or hashlib.md5(self.body, usedforsecurity=False).hexdigest()


@dataclass
class Page:
    """One page of the listing, field by field; an empty field is left out."""

    name: str
    prefix: str | None
    entries: list[str]
    truncated: str = "false"
    token: str = ""
    count: str | None = None
    root: str = "ListBucketResult"
    encoding: str = "url"

    def xml(self) -> bytes:
        """The answer's body."""
        count = str(len(self.entries)) if self.count is None else self.count
        fields = {
            "Name": self.name,
            "Prefix": self.prefix,
            "KeyCount": count,
            "MaxKeys": "1000",
            "EncodingType": self.encoding,
            "IsTruncated": self.truncated,
            "NextContinuationToken": self.token,
        }
        told = "".join(f"<{name}>{value}</{name}>" for name, value in fields.items() if value)
        namespace = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
        return (
            f'<?xml version="1.0" encoding="UTF-8"?>\n<{self.root} {namespace}>{told}'
            f"{''.join(self.entries)}</{self.root}>"
        ).encode()


@dataclass
class Asked:
    """One request for a page."""

    prefix: str
    token: str | None
    headers: dict[str, str] = field(default_factory=dict)


Liar = Callable[[Asked, Page], Page | HttpAnswer]
Giver = Callable[[str, HttpAnswer], HttpAnswer]


def error_answer(status: int, code: str, message: str = "so it is") -> HttpAnswer:
    """A refusal in S3's words."""
    return HttpAnswer(
        status,
        f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>{message}</Message></Error>'.encode(),
        XML,
    )


class LyingS3(HttpServer):
    """Bucket `bkt` at path-style addresses. `list_as` and `give_as` may replace what is true."""

    def __init__(self, name: str = "bkt", page_size: int = 1000) -> None:
        self.name = name
        self.page_size = page_size
        self.objects: dict[str, Stored] = {}
        self.list_as: Liar = lambda _asked, page: page
        self.give_as: Giver = lambda _key, answer: answer
        self.listings: list[Asked] = []
        self.gets: list[str] = []
        self.requests: list[HttpRequest] = []
        super().__init__()

    def put(self, key: str, body: bytes = b"body", **more: str) -> Stored:
        """Store an object."""
        self.objects[key] = Stored(body, **more)  # type: ignore[arg-type]
        return self.objects[key]

    def respond(self, request: HttpRequest) -> HttpAnswer:
        self.requests.append(request)
        parts = urlsplit(request.path)
        query = parse_qs(parts.query, keep_blank_values=True)
        if "list-type" in query:
            return self._list(request, query)
        key = unquote(parts.path.removeprefix(f"/{self.name}/"))
        self.gets.append(key)
        return self.give_as(key, self._object(key))

    def _list(self, request: HttpRequest, query: dict[str, list[str]]) -> HttpAnswer:
        prefix = query.get("prefix", [""])[0]
        token = next(iter(query.get("continuation-token", [])), None)
        asked = Asked(prefix, token, dict(request.headers))
        self.listings.append(asked)
        size = min(self.page_size, int(query["max-keys"][0]))
        after = query.get("start-after", [""])[0]
        keys = sorted((key for key in self.objects if key.startswith(prefix) and key > after), key=str.encode)
        begin = int("0" + "".join(digit for digit in token or "" if digit.isdecimal()))
        shown, more = keys[begin : begin + size], begin + size < len(keys)
        page = Page(
            self.name,
            quote_plus(prefix, safe="/"),
            [entry(key, self.objects[key]) for key in shown],
            "true" if more else "false",
            f"t{begin + size}" if more else "",
        )
        lie = self.list_as(asked, page)
        return lie if isinstance(lie, HttpAnswer) else HttpAnswer(200, lie.xml(), XML)

    def _object(self, key: str) -> HttpAnswer:
        stored = self.objects.get(key)
        if stored is None:
            return error_answer(404, "NoSuchKey", "The specified key does not exist.")
        modified = stored.modified.strftime("%a, %d %b %Y %H:%M:%S GMT")
        return HttpAnswer(200, stored.body, [("ETag", f'"{stored.etag}"'), ("Last-Modified", modified)])


def entry(key: str, stored: Stored, *, etag: str | None = None) -> str:
    """The object's lines in a listing."""
    told = f'"{stored.etag}"' if etag is None else etag
    return (
        f"<Contents><Key>{quote_plus(key, safe='/')}</Key>"
        f"<LastModified>{stored.modified.strftime('%Y-%m-%dT%H:%M:%S.000Z')}</LastModified>"
        f"{f'<ETag>{told}</ETag>' if told else ''}<Size>{len(stored.body)}</Size>{stored.listed_xml}</Contents>"
    )
