"""Pages of a bucket's listing, each proven to be S3's: that a scan is whole rests on the last one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from botocore.exceptions import ClientError

from sniffer.adapters.s3.client import BucketClient
from sniffer.adapters.s3.errors import NotFetched, Reaction, Refusal, bare_etag
from sniffer.adapters.s3.pages import ListingPage, parse_page
from sniffer.adapters.s3.proofs import OrderedProof, Proof, UnorderedProof
from sniffer.core.errors import SettingsError, TransientError
from sniffer.core.key_ranges import ALL_KEYS, KeyRange, key_bytes
from sniffer.core.records import ListedObject, Outcome, Unscored

_T = TypeVar("_T")

PAGE_SIZE = 1000
_EACH = 10
_HIGHEST = "\U0010fffd"
_PAGE = re.compile(rb"\s*(<\?xml[^<>]*\?>)?\s*<ListBucketResult[\s>]")
_BODY, _NOTHING = "SnifferBody", b"<ListBucketResult/>"


class Listing:
    """Lists one bucket."""

    def __init__(self, client: BucketClient) -> None:
        self._client = client
        self._attributes = {} if client.is_directory else {"OptionalObjectAttributes": ["RestoreStatus"]}
        # Handlers of a pattern come before those of a name, boto3's own among them.
        client.s3.meta.events.register("before-parse.*.ListObjectsV2", _take_page)
        client.s3.meta.events.register("before-parse.s3.ListObjectsV2", _take_body)

    def first(self, prefix: str, count: int) -> list[ListedObject]:
        """The first objects under the prefix, asked for once; raises BotoCoreError, ClientError or BrokenPage."""
        self._check_prefix(prefix)
        try:
            return self._ask(prefix, None, count).objects
        except ClientError as error:
            if not (self._attributes and Refusal.of(error).code in ("NotImplemented", "InvalidArgument")):
                raise
            # Another S3 than Amazon's that does not know the header. It has no restored objects to tell of.
            self._attributes = {}
            return self._ask(prefix, None, count).objects

    def spread(self, prefix: str) -> Iterator[ListedObject]:
        """Objects from all over the prefix, about two times ten; raises as `first` does.

        Those after the first page are the neighbours of its last key in each of its folders. There are none of a
        directory bucket, which lists in no order.
        """
        page = self._ask(prefix, None, PAGE_SIZE).objects
        yield from page[:: max(1, len(page) // _EACH)]
        if not page or self._client.is_directory:
            return
        last = page[-1].key
        ends = range(len(prefix), len(last))
        for end in ends[:: max(1, len(ends) // _EACH)]:
            yield from self._ask(prefix, None, 1, after=last[:end] + _HIGHEST).objects

    def pages(self, prefix: str, keys: KeyRange = ALL_KEYS) -> Iterator[list[ListedObject]]:
        """The objects under the prefix with keys in that range, in S3's order. No page is empty or above 1,000.

        Raises SettingsError when S3 refuses, TransientError when it gives no whole listing.
        """
        self._check_prefix(prefix)
        if self._client.is_directory and not keys.is_whole:
            raise SettingsError(
                f"{self._client.place} is a directory bucket: it lists in no order, so not by key ranges"
            )
        proof = UnorderedProof() if self._client.is_directory else OrderedProof(key_bytes(keys.after))
        token: str | None = None
        while True:
            page = self._page(prefix, token, proof, keys.after)
            inside = page.objects
            if inside and keys.ends_before(inside[-1].key):
                inside = [listed for listed in inside if not keys.ends_before(listed.key)]
            if inside:
                yield inside
            if page.token is None or len(inside) < len(page.objects):
                return
            token = page.token

    def keys_after(self, prefix: str, after: str) -> ListingPage:
        """The first page under the prefix after that key, in whatever order S3 gives it; raises as `pages` does."""
        self._check_prefix(prefix)
        return self._answered(lambda: self._ask(prefix, None, PAGE_SIZE, after=after))

    def folders(self, prefix: str) -> ListingPage:
        """The first page of what is under the prefix, with what is behind the next `/` gathered; raises as `pages`."""
        return self._answered(lambda: self._ask(prefix, None, PAGE_SIZE, delimiter="/"))

    def holds(self, prefix: str) -> bool:
        """Whether there is any object under the prefix; raises as `pages` does."""
        return self._answered(lambda: bool(self._ask(prefix, None, 1).objects))

    def look_up(self, key: str) -> ListedObject | None:
        """The object of that key as it is listed now; raises as `pages` does, and NotFetched when S3 refuses that key.

        A policy may allow to list the scan's own prefix and no other; that is no reason to end the scan.
        """
        if self._client.is_directory:
            return self._head(key)
        try:
            return self._client.patiently(lambda: self._match(self._ask(key, None, 1).objects, key))
        except ClientError as error:
            refusal = Refusal.of(error)
            if refusal.reaction is not Reaction.INACCESSIBLE:
                raise self._client.explain(error) from error
            message = f"a GET gives another object than was listed, and looking it up again is refused ({refusal})"
            raise NotFetched(Unscored(Outcome.FAILED, "not_as_listed", message)) from error

    def _check_prefix(self, prefix: str) -> None:
        if self._client.is_directory and prefix and not prefix.endswith("/"):
            raise SettingsError(f"{self._client.place} is a directory bucket: its prefixes end in /, not {prefix!r}")

    def _page(self, prefix: str, token: str | None, proof: Proof, after: str) -> ListingPage:
        def ask() -> ListingPage:
            page = self._ask(prefix, token, PAGE_SIZE, after=after)
            proof.check(page)
            return page

        page = self._answered(ask)
        proof.keep(page)
        return page

    def _answered(self, ask: Callable[[], _T]) -> _T:
        try:
            return self._client.patiently(ask)
        except ClientError as error:
            raise self._client.explain(error) from error

    @staticmethod
    def _match(objects: list[ListedObject], key: str) -> ListedObject | None:
        return next((listed for listed in objects if listed.key == key), None)

    def _ask(self, prefix: str, token: str | None, count: int, *, after: str = "", delimiter: str = "") -> ListingPage:
        answer = self._client.whole_call(
            self._client.s3.list_objects_v2,
            Prefix=prefix,
            MaxKeys=count,
            EncodingType="url",
            **({"ContinuationToken": token} if token is not None else {}),
            **self._attributes,
            **({"StartAfter": after} if after else {}),
            **({"Delimiter": delimiter} if delimiter else {}),
            **self._client.payer,
        )
        return parse_page(
            answer[_BODY], self._client.name, prefix, any_name=self._client.is_alias, after=after, delimiter=delimiter
        )

    def _head(self, key: str) -> ListedObject | None:
        found = self._answered(
            lambda: self._client.whole_call(self._client.s3.head_object, Key=key, **self._client.payer)
        )
        if "ContentLength" not in found or "LastModified" not in found:
            raise TransientError(f"{self._client.place} tells no size or time of {key!r}: check AWS_ENDPOINT_URL")
        return ListedObject(
            self._client.name, key, bare_etag(found.get("ETag")), found["ContentLength"], found["LastModified"]
        )


def _take_page(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: object) -> None:
    """Take what begins as a page before boto3 looks for an error in it, which parses all of it: a fifth of the time of
    a listing. An error begins otherwise."""
    if _PAGE.match(response_dict["body"]):
        _take_body(response_dict, customized_response_dict)


def _take_body(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: object) -> None:
    """Keep boto3 from reading the answer: it reads leniently, and makes of an empty one an empty listing at its end."""
    if response_dict["status_code"] < 300 and _BODY not in customized_response_dict:
        customized_response_dict[_BODY] = response_dict["body"]
        response_dict["body"] = _NOTHING
