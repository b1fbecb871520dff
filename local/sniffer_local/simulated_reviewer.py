"""A reviewer who knows what the sample images show, and errs now and then, as people do; decides on the review page."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from sniffer.core.review_records import Reason, ReviewDecision
from sniffer_local.review_browser import BatchOnPage, ReviewBrowser

ERROR_SHARE = 0.05


@dataclass(frozen=True, slots=True)
class Said:
    """What a reviewer says of an image, and whether that is wrong."""

    decision: ReviewDecision
    reason: Reason | None
    is_wrong: bool


@dataclass(slots=True)
class ReviewCounts:
    """What came of a session: decided images by decision, how many of them wrongly, and how many were left alone."""

    said: Counter[ReviewDecision] = field(default_factory=Counter)
    wrong: int = 0
    left: int = 0

    @property
    def decided(self) -> int:
        """Images that were decided."""
        return self.said.total()


@dataclass(frozen=True)
class SimulatedReviewer:
    """`truth` has for each image that she knows, by `bucket/key` as the page writes it, why it shows drugs, or None.

    Whether she errs about an image follows from the seed, her name and the image alone: a rerun errs alike, whatever
    the order, and two reviewers err independently.
    """

    name: str
    truth: Mapping[str, Reason | None]
    seed: int = 0
    error_share: float = ERROR_SHARE

    def says(self, where: str) -> Said:
        """What she says of that image; KeyError for one that she does not know."""
        reason = self.truth[where]
        digest = hashlib.blake2b(f"{self.seed}\0{self.name}\0{where}".encode(), digest_size=8).digest()
        errs = int.from_bytes(digest) < self.error_share * 2**64
        if (reason is not None) != errs:
            return Said(ReviewDecision.DRUG, reason or Reason.OTHER, errs)
        return Said(ReviewDecision.NOT_DRUG, None, errs)

    def review(
        self,
        browser: ReviewBrowser,
        *,
        most: int | None = None,
        leaves: Callable[[BatchOnPage], bool] = lambda _: False,
        for_lead: bool = False,
    ) -> ReviewCounts:
        """Decide what the page shows, until nothing waits, all that waits was left before, or `most` are decided.

        Look-alikes get what she says of the first; those that differ from it in truth are left out as of a wrong
        batch, and come alone. She leaves alone what `leaves` says, and every batch of which she knows not all images.
        """
        counts, left, met_again = ReviewCounts(), set[int](), 0
        batch = browser.next_batch(for_lead=for_lead)
        while batch is not None and (most is None or counts.decided < most):
            ids = {image.image_id for image in batch.images}
            met_again = met_again + 1 if ids <= left else 0
            if met_again > len(left):
                break  # a batch may come once for each of its images: that was a whole round
            if met_again or leaves(batch) or any(image.where not in self.truth for image in batch.images):
                left |= ids
                batch = browser.skip(batch)
                continue
            browser.look(batch)
            batch = self._decide(browser, batch, counts)
        counts.left = len(left)
        return counts

    def _decide(self, browser: ReviewBrowser, batch: BatchOnPage, counts: ReviewCounts) -> BatchOnPage | None:
        first = batch.images[0]
        said = self.says(first.where)
        differ = [
            image.image_id
            for image in batch.images
            if (self.truth[image.where] is None) != (self.truth[first.where] is None)
        ]
        after = browser.decide(batch, said.decision, said.reason, differ)
        images = len(batch.images) - len(differ)
        counts.said[said.decision] += images
        counts.wrong += images * said.is_wrong
        return after
