"""One batch in a consumer: bytes in, committed rows out. Decode, ask the model, store; the same twice does no harm."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Container, Sequence
from typing import Protocol

from sniffer.adapters import images
from sniffer.core.errors import UnreadableImage
from sniffer.core.records import FencingToken, Outcome, Result, Unscored
from sniffer.core.settings import ImageSettings
from sniffer.scan.messages import Welcome, Work


class ImageStore(Protocol):
    """Where results go; each call is one transaction."""

    def scored_bytes(self, content_hashes: Sequence[bytes], model_version: int) -> dict[bytes, float]:
        """Scores that this model version already gave to these very bytes, by content hash."""

    def record(
        self,
        results: Sequence[Result],
        *,
        model_version: int,
        token: FencingToken,
        decoder_version: int,
        rescan: bool = False,
    ) -> list[Outcome]:
        """Store what became of these images, and say for each how it now counts in this scan. Idempotent.

        SupersededRun when a newer run of the scan has taken over; then nothing is stored.
        """


class Predictor(Protocol):
    """What gives scores."""

    def predict(self, version: int, images: Sequence[bytes]) -> list[float]:
        """Scores of images given as pixels, in their order."""


class Scorer:
    """Turns work into rows by one model version. For one thread at a time.

    `decode` gives the pixels of an encoded image, or raises UnreadableImage.
    """

    def __init__(self, store: ImageStore, server: Predictor, decode: Callable[[bytes], bytes]) -> None:
        self._store = store
        self._server = server
        self._pixels_of = decode

    def score(self, job: Welcome, batch: Sequence[Work]) -> list[tuple[int, Outcome]]:
        """Give every image of the batch its row, in one transaction; returns how each one counts, by number."""
        hashes = {work.number: hashlib.sha256(work.body).digest() for work in batch if work.verdict is None}
        scores = {} if job.rescan else self._store.scored_bytes(sorted(set(hashes.values())), job.model_version)
        asked, refused = self._decode(batch, hashes, known=scores.keys())
        scores |= dict(zip(asked, self._server.predict(job.model_version, list(asked.values())), strict=True))
        fresh = set(asked)
        results = [self._result(work, hashes, scores, refused, fresh) for work in batch]
        outcomes = self._store.record(
            results,
            model_version=job.model_version,
            token=job.token,
            decoder_version=images.DECODER_VERSION,
            rescan=job.rescan,
        )
        return [(work.number, outcome) for work, outcome in zip(batch, outcomes, strict=True)]

    def _decode(
        self, batch: Sequence[Work], hashes: dict[int, bytes], known: Container[bytes]
    ) -> tuple[dict[bytes, bytes], dict[bytes, Unscored]]:
        """Pixels of the distinct bytes that no score is known for, and verdicts on those that cannot be decoded."""
        pixels: dict[bytes, bytes] = {}
        refused: dict[bytes, Unscored] = {}
        for work in batch:
            content = hashes.get(work.number)
            if content is None or content in pixels or content in refused or content in known:
                continue
            try:
                pixels[content] = self._pixels_of(work.body)
            except UnreadableImage as error:
                refused[content] = Unscored(Outcome.UNREADABLE, error.code, str(error))
        return pixels, refused

    def _result(
        self,
        work: Work,
        hashes: dict[int, bytes],
        scores: dict[bytes, float],
        refused: dict[bytes, Unscored],
        fresh: set[bytes],
    ) -> Result:
        if work.verdict is not None:
            return work.verdict.of(work.image)
        content = hashes[work.number]
        if content in refused:
            return refused[content].of(work.image, content)
        # The first of equal images in a batch is what the model was asked about; the others share its score.
        outcome = Outcome.PREDICTED if content in fresh else Outcome.REUSED
        fresh.discard(content)
        return Result(work.image, outcome, scores[content], content)


def pixels_of(limits: ImageSettings) -> Callable[[bytes], bytes]:
    """The decoder within these limits: encoded bytes in, raw 224×224×3 uint8 RGB bytes out."""

    def decode(body: bytes) -> bytes:
        return images.decode(body, max_pixels=limits.max_pixels, max_bytes=limits.max_bytes).tobytes()

    return decode
