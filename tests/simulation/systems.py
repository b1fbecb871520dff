"""Simulated S3 and TensorFlow Serving, which are slow, away, or changed by others meanwhile; and what images are."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

from simulation.clockwork import Clockwork
from sniffer.adapters.s3.errors import NotFetched
from sniffer.core.errors import TransientError, UnreadableImage
from sniffer.core.records import ListedObject, Outcome, Unscored
from sniffer.decoding.caged import DecoderDied
from sniffer.decoding.frames import RenderedPicture

UPLOADED_AT = datetime(2026, 11, 20, tzinfo=UTC)
POISON = b"POISON"
"""Begins what ends the decoder's process."""
LETHAL = b"LETHAL"
"""Begins what ends the consumer itself."""
BROKEN = b"BROKEN"


def true_score(body: bytes) -> float:
    """The score that the one model gives to these bytes."""
    return int.from_bytes(hashlib.sha256(body).digest()[:4], "big") / 2**32


class MemoryDecoder:
    """A decoder process whose pixels are the bytes themselves. Poison ends it, and then it is good for nothing.

    `die_of` ends the whole consumer for bytes that no decoder can keep from it.
    """

    def __init__(self, die_of: Callable[[bytes], None]) -> None:
        self._die_of = die_of
        self.is_alive = True

    def render(self, body: bytes, cpu_s: float) -> RenderedPicture:
        """The picture; raises DecoderDied as the real one does."""
        if body.startswith(LETHAL):
            self._die_of(body)
        self.is_alive = self.is_alive and not body.startswith(POISON)
        if not self.is_alive:
            raise DecoderDied("signal 11 (SIGSEGV)", 0.5)
        if body.startswith(BROKEN):
            raise UnreadableImage("no_image", "not an image")
        return RenderedPicture((body,), (None,))

    def close(self) -> None:
        """End it."""
        self.is_alive = False


class MemoryBucket:
    """Objects, each as the bytes that are there now. `fetch` and `pages` fail as `Bucket`'s do."""

    def __init__(self, clockwork: Clockwork, rng: random.Random, patience_s: float) -> None:
        self._clockwork = clockwork
        self._rng = rng
        self._patience_s = patience_s
        self.bodies: dict[str, bytes] = {}
        self.versions: dict[str, list[bytes]] = {}
        self.largest_bytes = 0
        """The size of the largest body that was ever there."""
        self.denied: set[str] = set()
        self.all_denied_until = 0.0
        self.given: set[str] = set()
        """The keys whose last fetch gave their bytes."""
        self.away_until = 0.0
        self.slow_until = 0.0

    def put(self, key: str, body: bytes) -> None:
        """Put an object, or other bytes in its place."""
        self.bodies[key] = body
        self.versions.setdefault(key, []).append(body)
        self.largest_bytes = max(self.largest_bytes, len(body))

    def delete(self, key: str) -> None:
        """Delete an object, if it is there."""
        self.bodies.pop(key, None)

    def listed(self, key: str) -> ListedObject:
        """The object as the listing shows it."""
        body = self.bodies[key]
        return ListedObject("bkt", key, hashlib.md5(body).hexdigest(), len(body), UPLOADED_AT)

    def pages(self, page_size: int) -> Iterator[list[ListedObject]]:
        """Pages in the order of the keys; each shows what is there at its time."""
        after = ""
        while True:
            self._travel()
            keys = [key for key in sorted(self.bodies) if key > after]
            if not keys:
                return
            after = keys[:page_size][-1]
            yield [self.listed(key) for key in keys[:page_size]]
            if len(keys) <= page_size:
                return

    def fetch(self, image: ListedObject) -> bytes:
        """The object's bytes, if it is still the one that was listed; raises NotFetched otherwise."""
        self.given.discard(image.key)
        body = self._fetched(image)
        self.given.add(image.key)
        return body

    def inaccessible_code(self, image: ListedObject) -> str:
        """The code with which the object is refused now; "" when it is given, or something else is the matter."""
        try:
            self._fetched(image)
        except NotFetched as error:
            return error.verdict.code if error.verdict.outcome is Outcome.INACCESSIBLE else ""
        return ""

    def _fetched(self, image: ListedObject) -> bytes:
        try:
            self._travel()
        except TransientError as error:
            raise NotFetched(Unscored(Outcome.FAILED, "fetch", str(error))) from error
        if image.key in self.denied or self._clockwork.now < self.all_denied_until:
            raise NotFetched(Unscored(Outcome.INACCESSIBLE, "access_denied", "not for you"))
        if image.key not in self.bodies:
            raise NotFetched(Unscored(Outcome.GONE, "deleted", "there is no such object"))
        if self.listed(image.key).etag != image.etag:
            raise NotFetched(Unscored(Outcome.GONE, "replaced", "replaced by other bytes"))
        return self.bodies[image.key]

    def _travel(self) -> None:
        clockwork = self._clockwork
        deadline = clockwork.now + self._patience_s
        clockwork.sleep(self._rng.uniform(0.005, 0.05) * (10 if clockwork.now < self.slow_until else 1))
        while clockwork.now < self.away_until:
            if clockwork.now >= deadline:
                raise TransientError(f"S3 has not answered for {self._patience_s:g} s")
            clockwork.sleep(0.3)


class MemoryModelServer:
    """Scores by the bytes; slow or away for a while."""

    def __init__(self, clockwork: Clockwork, rng: random.Random, patience_s: float) -> None:
        self._clockwork = clockwork
        self._rng = rng
        self._patience_s = patience_s
        self.away_until = 0.0
        self.slow_until = 0.0

    def predict(self, version: int, images: Sequence[bytes]) -> list[float]:
        """Scores of images, in their order."""
        clockwork = self._clockwork
        deadline = clockwork.now + self._patience_s
        clockwork.sleep(self._rng.uniform(0.05, 0.2) * (8 if clockwork.now < self.slow_until else 1))
        while clockwork.now < self.away_until:
            if clockwork.now >= deadline:
                raise TransientError(f"the model server does not answer for {self._patience_s:g} s")
            clockwork.sleep(0.3)
        return [true_score(pixels) for pixels in images]
