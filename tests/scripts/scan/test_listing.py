"""Which listed objects go to the fleet: window, limit, what is known; and the digest that does not mind the order."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from sniffer.core.records import ListedObject, ListingDigest, ScanRequest
from sniffer.scan.listing import ListingTally, images_to_score

DAY = datetime(2026, 11, 20, tzinfo=UTC)


def pages_of(count: int, page_size: int) -> list[list[ListedObject]]:
    objects = [ListedObject("b", f"k{i}", "e", 1, DAY + timedelta(hours=i)) for i in range(count)]
    return [objects[i : i + page_size] for i in range(0, count, page_size)]


@given(
    count=st.integers(0, 60),
    page_size=st.integers(1, 20),
    limit=st.none() | st.integers(1, 70),
    known_share=st.sampled_from([0, 2, 3]),
)
def test_every_listed_object_is_either_known_or_handed_out(
    count: int, page_size: int, limit: int | None, known_share: int
) -> None:
    pages = pages_of(count, page_size)
    known = {o.identity for page in pages for i, o in enumerate(page) if known_share and i % known_share == 0}
    tally = ListingTally()
    request = ScanRequest("s", "b", limit=limit)
    flagged = dict.fromkeys(known, True)
    new = [o for page in images_to_score(pages, request, lambda _: flagged, tally) for o in page]
    assert tally.listed == tally.unchanged + len(new)
    assert tally.finished
    assert not {o.identity for o in new} & known
    assert tally.flagged == tally.unchanged
    if limit is None:
        assert tally.listed == count
    else:
        assert len(new) == min(limit, count - len(known))
        assert tally.limited == (len(new) == limit)


def test_windows_that_touch_share_no_object_and_miss_none() -> None:
    pages = pages_of(72, 10)
    found: list[str] = []
    for day in range(-1, 4):
        since = DAY + timedelta(days=day)
        request = ScanRequest("s", "b", since=since, until=since + timedelta(days=1))
        found += [o.key for page in images_to_score(pages, request, lambda _: {}, ListingTally()) for o in page]
    assert sorted(found) == sorted(o.key for page in pages for o in page)


def test_the_digest_ignores_the_order_but_not_the_number() -> None:
    identities = [random.Random(i).randbytes(32) for i in range(20)]
    one, other, twice = ListingDigest(), ListingDigest(), ListingDigest()
    one.add(identities)
    other.add(identities[10:])
    other.add(identities[:10])
    twice.add([*identities, identities[0], identities[0]])
    assert one.hex() == other.hex() != twice.hex()
