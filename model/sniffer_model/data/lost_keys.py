"""Why the keys of a table are not in their bucket: what would have to be done to all of them to find them."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import islice
from urllib.parse import quote, unquote, unquote_plus

from sniffer.adapters.s3.bucket import Bucket
from sniffer.adapters.s3.locations import S3_SCHEME, split_s3

_TRIED = 10
_LISTED_PAGES = 20


def likely_cause(keys: Sequence[str], bucket: Bucket) -> str | None:
    """What most of a few of these keys lack or have too much of, by what is in the bucket; None when it is not seen."""
    tried = list(dict.fromkeys(keys))[:_TRIED]
    for words, change in _changes(bucket.name).items():
        changed = [(key, change(key)) for key in tried]
        found = [new for key, new in changed if new != key and new and _is_there(bucket, new)]
        if 2 * len(found) > len(tried):
            return f"{words}: the bucket holds {found[0]!r}"
    return _by_listing(tried, bucket)


def _changes(bucket: str) -> Mapping[str, Callable[[str], str]]:
    return {
        "the keys begin with a `/`": lambda key: key.lstrip("/"),
        "the keys are whole addresses (s3://bucket/key)": _path_of,
        "the keys begin with the bucket's name": lambda key: key.removeprefix(f"{bucket}/"),
        "the keys are URL-encoded": unquote,
        "the keys are URL-encoded, with `+` for a space": unquote_plus,
        "the bucket's keys are URL-encoded": quote,
        "the keys begin or end with spaces": str.strip,
        "the keys' accents are written in another way (Unicode NFD)": lambda key: unicodedata.normalize("NFC", key),
        "the keys' accents are written in another way (Unicode NFC)": lambda key: unicodedata.normalize("NFD", key),
        "the keys have backslashes": lambda key: key.replace("\\", "/"),
        **{
            f"the keys have {folders} too much in front": partial(_without_folders, depth=depth)
            for depth, folders in ((1, "a folder"), (2, "two folders"), (3, "three folders"))
        },
    }


def _without_folders(key: str, *, depth: int) -> str:
    parts = key.split("/", depth)
    return parts[depth] if len(parts) > depth else key


def _path_of(key: str) -> str:
    return split_s3(key)[1] if key.startswith(S3_SCHEME) and len(key) > len(S3_SCHEME) else key


def _is_there(bucket: Bucket, key: str) -> bool:
    page = next(bucket.pages(key), [])
    return any(item.key == key for item in page)


def _by_listing(tried: Sequence[str], bucket: Bucket) -> str | None:
    """The prefix that most of the keys lack, by the first objects of the bucket; or what is there instead."""
    prefixes: Counter[str] = Counter()
    by_case = {key.casefold() for key in tried}
    other_case = set()
    first = ""
    for page in islice(bucket.pages(""), _LISTED_PAGES):
        for item in page:
            first = first or item.key
            if item.key.casefold() in by_case:
                other_case.add(item.key)
            prefixes.update({item.key.removesuffix(key) for key in tried if item.key.endswith(f"/{key.lstrip('/')}")})
    for prefix, count in prefixes.most_common(1):
        if 2 * count > len(tried):
            return f"the keys lack the prefix {prefix!r}"
    if 2 * len(other_case) > len(tried):
        return f"the keys have other capitals: the bucket holds {min(other_case)!r}"
    return f"the bucket's first key is {first!r}" if first else "the bucket is empty"
