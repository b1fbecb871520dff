"""One batch in a consumer: bytes in, committed rows out. Decode, ask the model, store; the same twice does no harm."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Container, Mapping, Sequence
from itertools import islice
from typing import Protocol

from sniffer.adapters.images import DECODER_VERSION
from sniffer.core.errors import UnreadableImage
from sniffer.core.metrics import NO_METRICS, ROWS, STAGE_SECONDS, Metrics
from sniffer.core.records import FencingToken, Outcome, Result, Score, Unscored
from sniffer.decoding.frames import RenderedPicture
from sniffer.scan.messages import Welcome, Work

_COSTLY = frozenset({"over_cost_limit", "decoder_crashed"})
"""Codes of verdicts that took seconds to reach, so that the same bytes under other keys must not take them again."""
_MOST_REMEMBERED = 10_000


class ImageStore(Protocol):
    """Where results go; each call is one transaction."""

    def scored_bytes(self, content_hashes: Sequence[bytes], model_version: int) -> dict[bytes, Score]:
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

    `render` gives the picture in encoded bytes, or raises UnreadableImage. Requests hold `batch_size` images at most.
    """

    def __init__(
        self,
        store: ImageStore,
        server: Predictor,
        render: Callable[[bytes], RenderedPicture],
        batch_size: int,
        metrics: Metrics = NO_METRICS,
    ) -> None:
        self._metrics = metrics
        self._store = store
        self._server = server
        self._render = render
        self._batch_size = batch_size
        self._costly: dict[bytes, Unscored] = {}

    def score(self, job: Welcome, batch: Sequence[Work], on_decoded: Callable[[], None]) -> list[tuple[int, Outcome]]:
        """Give every image of the batch its row, in one transaction; returns how each one counts, by number.

        `on_decoded` is called when nothing that follows depends on the images' bytes any more.
        """
        with self._metrics.batch(len(batch)):
            return self._score(job, batch, on_decoded)

    def _score(self, job: Welcome, batch: Sequence[Work], on_decoded: Callable[[], None]) -> list[tuple[int, Outcome]]:
        hashes = {work.number: hashlib.sha256(work.body).digest() for work in batch if work.verdict is None}
        known = {} if job.rescan else self._store.scored_bytes(sorted(set(hashes.values())), job.model_version)
        pictures, refused = self._decode(batch, hashes, known=known.keys())
        on_decoded()
        scores = known | self._predict(job.model_version, pictures)
        fresh = set(pictures)
        results = [self._result(work, hashes, scores, refused, fresh) for work in batch]
        with self._metrics.timed(STAGE_SECONDS, stage="write"):
            outcomes = self._store.record(
                results,
                model_version=job.model_version,
                token=job.token,
                decoder_version=DECODER_VERSION,
                rescan=job.rescan,
            )
        for result, outcome in zip(results, outcomes, strict=True):
            self._metrics.add(
                ROWS, outcome=outcome, code=(result.error_code or "") if outcome is result.outcome else ""
            )
        return [(work.number, outcome) for work, outcome in zip(batch, outcomes, strict=True)]

    def _decode(
        self, batch: Sequence[Work], hashes: Mapping[int, bytes], known: Container[bytes]
    ) -> tuple[dict[bytes, RenderedPicture], dict[bytes, Unscored]]:
        """Pictures of the distinct bytes that no score is known for, and verdicts on those that cannot be decoded."""
        pictures: dict[bytes, RenderedPicture] = {}
        refused: dict[bytes, Unscored] = {}
        for work in batch:
            content = hashes.get(work.number)
            if content is None or content in pictures or content in refused or content in known:
                continue
            if content in self._costly:
                refused[content] = self._costly[content]
                continue
            try:
                with self._metrics.timed(STAGE_SECONDS, stage="decode"):
                    pictures[content] = self._render(work.body)
            except UnreadableImage as error:
                refused[content] = Unscored(Outcome.UNREADABLE, error.code, str(error))
                self._remember(content, refused[content])
        return pictures, refused

    def _remember(self, content: bytes, verdict: Unscored) -> None:
        if verdict.code in _COSTLY:
            self._costly[content] = verdict
            if len(self._costly) > _MOST_REMEMBERED:
                del self._costly[next(iter(self._costly))]

    def _predict(self, model_version: int, pictures: Mapping[bytes, RenderedPicture]) -> dict[bytes, Score]:
        """The highest score of each picture's renderings."""
        pixels = [rendering for picture in pictures.values() for rendering in picture.pixels]
        scores: list[float] = []
        for start in range(0, len(pixels), self._batch_size):
            with self._metrics.timed(STAGE_SECONDS, stage="predict"):
                scores += self._server.predict(model_version, pixels[start : start + self._batch_size])
        found: dict[bytes, Score] = {}
        left = iter(scores)
        for content, picture in pictures.items():
            own = list(islice(left, len(picture.pixels)))
            best = max(range(len(picture.pixels)), key=own.__getitem__)
            found[content] = Score(own[best], _rendering(picture, best))
        return found

    def _result(
        self,
        work: Work,
        hashes: Mapping[int, bytes],
        scores: Mapping[bytes, Score],
        refused: Mapping[bytes, Unscored],
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
        score = scores[content]
        return Result(work.image, outcome, score.value, content, rendering=score.rendering)


def _rendering(picture: RenderedPicture, best: int) -> str | None:
    """What is kept of how the picture was shown, such as "frame 3, partial"; None when there was but one way."""
    parts = [picture.names[best], "partial" if picture.is_partial else None]
    return ", ".join(part for part in parts if part) or None
