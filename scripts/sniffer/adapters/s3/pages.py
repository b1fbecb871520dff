"""One page of a listing, out of S3's answer: believed only when it is the page that was asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import unquote_to_bytes
from xml.etree import ElementTree

from botocore.utils import parse_timestamp

from sniffer.adapters.s3.documents import NotADocument, parse_document
from sniffer.adapters.s3.errors import bare_etag, local_name
from sniffer.adapters.s3.storage_classes import RESTORED
from sniffer.core.records import ListedObject
from sniffer.core.retry import RetryLater
from sniffer.core.text import one_line

_TRUTH = {"true": True, "false": False}
_LARGEST_BYTES = 1 << 50
"""S3 keeps objects of up to 50 TB."""


_OF_PAGES = frozenset(
    {"Name", "Prefix", "StartAfter", "Delimiter", "EncodingType", "KeyCount", "IsTruncated", "NextContinuationToken"}
)
_OF_ENTRIES = frozenset({"Key", "ETag", "Size", "LastModified", "StorageClass"})


class BrokenPage(RetryLater):
    """The answer is no page of that listing; its text says why."""

    def __init__(self, why: str) -> None:
        super().__init__(one_line(why, 500))


@dataclass(frozen=True, slots=True)
class ListingPage:
    """One page: its objects in the order of the answer, and where the next begins; None at the end."""

    objects: list[ListedObject]
    token: str | None
    folders: Sequence[str] = ()
    """What a delimiter has gathered: prefixes that end with it, in order."""

    @property
    def keys(self) -> list[str]:
        """The objects' keys."""
        return [listed.key for listed in self.objects]

    @property
    def is_last(self) -> bool:
        """Whether the listing ends with it."""
        return self.token is None


def parse_page(
    body: bytes, bucket: str, prefix: str, *, any_name: bool = False, after: str = "", delimiter: str = ""
) -> ListingPage:
    """The page in that answer; raises BrokenPage unless it is a ListBucketResult of that bucket and prefix.

    `any_name`: S3 may name the bucket otherwise. `after` and `delimiter` are what was asked for: an answer that says
    otherwise is another's. A key that is not UTF-8 has lone surrogates in place of its bytes.
    """
    try:
        root = parse_document(body)
    except NotADocument as error:
        raise BrokenPage(f"the listing is no XML ({error})") from error
    if local_name(root.tag) != "ListBucketResult":
        raise BrokenPage(f"the answer to a listing is {local_name(root.tag)!r}")
    fields = _texts(root, _OF_PAGES)
    entries = [node for node in root if local_name(node.tag) == "Contents"]
    is_encoded = fields.get("EncodingType") == "url"
    _check_place(fields, bucket, prefix, is_encoded=is_encoded, any_name=any_name)
    _check_echo(fields, "StartAfter", after, is_encoded=is_encoded)
    _check_echo(fields, "Delimiter", delimiter, is_encoded=is_encoded)
    folders = _folders(root, prefix, delimiter, is_encoded=is_encoded)
    _check_count(fields, len(entries) + len(folders))
    objects = [_listed(bucket, entry, is_encoded) for entry in entries]
    strange = next((listed.key for listed in objects if not listed.key.startswith(prefix)), None)
    if strange is not None:
        raise BrokenPage(f"the listing of prefix {prefix!r} has the key {strange!r}")
    return ListingPage(objects, _next_token(fields), folders)


def _texts(parent: ElementTree.Element, names: frozenset[str]) -> dict[str, str]:
    """The fields of these names. One that is there twice, or holds more than text, might mean anything."""
    found: dict[str, str] = {}
    for node in parent:
        name = local_name(node.tag)
        if name in names:
            if name in found or len(node):
                raise BrokenPage(f"the listing has {name} {'twice' if name in found else 'with more than text in it'}")
            found[name] = node.text or ""
    return found


def _folders(root: ElementTree.Element, prefix: str, delimiter: str, *, is_encoded: bool) -> list[str]:
    gathered = [node for node in root if local_name(node.tag) == "CommonPrefixes"]
    if gathered and not delimiter:
        raise BrokenPage("the listing has common prefixes, though no delimiter was asked for")
    folders = [
        _decoded(field.text or "", is_encoded)
        for node in gathered
        for field in node
        if local_name(field.tag) == "Prefix"
    ]
    for folder in folders:
        inner = folder.removeprefix(prefix)
        if not folder.startswith(prefix) or not inner.endswith(delimiter) or inner.count(delimiter) != 1:
            raise BrokenPage(f"the listing of prefix {prefix!r} by {delimiter!r} has the common prefix {folder!r}")
    if len(set(folders)) < len(folders):
        raise BrokenPage("the listing has a common prefix twice")
    return folders


def _check_place(fields: dict[str, str], bucket: str, prefix: str, *, is_encoded: bool, any_name: bool) -> None:
    name = fields.get("Name")
    if not name or (name != bucket and not any_name):
        raise BrokenPage(f"the listing is that of bucket {name!r}, not {bucket!r}")
    echoed = fields.get("Prefix")
    if echoed is not None and prefix not in (echoed, _decoded(echoed, is_encoded)):
        raise BrokenPage(f"the listing is that of prefix {echoed!r}, not {prefix!r}")


def _check_echo(fields: dict[str, str], name: str, asked: str, *, is_encoded: bool) -> None:
    echoed = fields.get(name)
    if echoed and asked not in (echoed, _decoded(echoed, is_encoded)):
        raise BrokenPage(f"the listing is that of {name} {echoed!r}, not {asked!r}")


def _check_count(fields: dict[str, str], entries: int) -> None:
    count = fields.get("KeyCount")
    if count is not None and count.strip() != str(entries):
        raise BrokenPage(f"the listing has {entries} keys and says that it has {count}")


def _next_token(fields: dict[str, str]) -> str | None:
    truncated = _TRUTH.get(fields.get("IsTruncated", "").strip().lower())
    if truncated is None:
        raise BrokenPage("the listing does not say whether it goes on (IsTruncated)")
    token = fields.get("NextContinuationToken", "")
    if truncated and not token:
        raise BrokenPage("the listing goes on, but has no NextContinuationToken")
    return token if truncated else None


def _listed(bucket: str, entry: ElementTree.Element, is_encoded: bool) -> ListedObject:
    texts = _texts(entry, _OF_ENTRIES)
    key, etag = _decoded(texts.get("Key", ""), is_encoded), bare_etag(texts.get("ETag"))
    if not key or not etag:
        raise BrokenPage(f"the listing has an entry without {'ETag' if key else 'key'} ({key!r})")
    try:
        size_bytes, modified = int(texts["Size"]), _moment(texts["LastModified"])
    except (KeyError, ValueError, OverflowError, RuntimeError) as error:
        raise BrokenPage(f"the listing has no size or time of {key!r} ({error})") from error
    if not 0 <= size_bytes <= _LARGEST_BYTES:
        raise BrokenPage(f"the listing has the size {size_bytes} of {key!r}")
    return ListedObject(bucket, key, etag, size_bytes, modified, _storage_class(texts, entry))


def _storage_class(texts: dict[str, str], entry: ElementTree.Element) -> str:
    storage_class = texts.get("StorageClass") or "STANDARD"
    status = next((node for node in entry if local_name(node.tag) == "RestoreStatus"), ())
    restore = {local_name(node.tag): (node.text or "").strip().lower() for node in status}
    is_there = restore.get("IsRestoreInProgress") == "false" and restore.get("RestoreExpiryDate")
    return storage_class + RESTORED if is_there else storage_class


def _decoded(text: str, is_encoded: bool) -> str:
    if not is_encoded:
        return text
    return unquote_to_bytes(text.replace("+", " ")).decode(errors="surrogateescape")


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = parse_timestamp(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
