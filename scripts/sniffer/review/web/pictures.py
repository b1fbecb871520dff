"""What reviewers see of an image: small pictures, made here by the caged decoder from the bytes that were scored.

Whatever else lies under the key by now is not shown: a decision is about the bytes that have the score.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from enum import StrEnum

from sniffer.adapters.images.kinds import kind_of
from sniffer.adapters.images.thumbnails import perceptual_hash, thumbnail
from sniffer.adapters.s3.bucket import Bucket
from sniffer.adapters.s3.errors import NotFetched
from sniffer.core.errors import SnifferError, UnreadableImage
from sniffer.core.records import ListedObject, Outcome
from sniffer.core.shown_images import ShownImage
from sniffer.core.text import one_line
from sniffer.decoding.caged import CagedDecoder
from sniffer.decoding.frames import RenderedPicture

_CACHED = 400
"""Pictures of a few ten kB each, covered and clear."""
_ASKED_S = 3.0
"""So long a decision waits for S3 to say whether its images are still there."""
_ASKED_AT_ONCE = 8
_SAFE_KINDS = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "GIF": "image/gif",
    "WebP": "image/webp",
    "AVIF": "image/avif",
    "BMP": "image/bmp",
}
"""What browsers show as a picture and nothing else."""


class WhyNot(StrEnum):
    """Why an image is not shown."""

    REPLACED = "replaced"
    GONE = "gone"
    UNREADABLE = "unreadable"
    AWAY = "away"


class NotShown(Exception):
    """There is nothing to show; the text is for the reviewer."""

    def __init__(self, why: WhyNot, text: str) -> None:
        super().__init__(text)
        self.why = why


@dataclass(frozen=True, slots=True)
class SmallPicture:
    """An image in two JPEGs: `covered` is blurred and grey. `near_hash`: 64 bits for near-duplicates."""

    covered: bytes
    clear: bytes
    near_hash: bytes


@dataclass(frozen=True, slots=True)
class Original:
    """An object's own bytes; `media_type` is None for what no browser should be given to show."""

    data: bytes
    media_type: str | None


class PictureSource:
    """Makes pictures. For many threads at once; decoders work for one each."""

    def __init__(self, open_bucket: Callable[[str], Bucket], decoders: list[CagedDecoder]) -> None:
        self._open_bucket = open_bucket
        self._buckets: dict[str, Bucket] = {}
        self._opening = threading.Lock()
        self._decoders = decoders
        self._free = threading.Semaphore(len(decoders))
        self._lending = threading.Lock()
        self._cache: OrderedDict[int, SmallPicture] = OrderedDict()
        self._caching = threading.Lock()
        self._asking = ThreadPoolExecutor(_ASKED_AT_ONCE, "asking")

    def small(self, image: ShownImage) -> SmallPicture:
        """Its small pictures, of the rendering that has the score; NotShown when there are none."""
        with self._caching:
            if (found := self._cache.get(image.image_id)) is not None:
                self._cache.move_to_end(image.image_id)
                return found
        made = self._made(image)
        with self._caching:
            self._cache[image.image_id] = made
            while len(self._cache) > _CACHED:
                self._cache.popitem(last=False)
        return made

    def original(self, image: ShownImage) -> Original:
        """The object itself, if it is still the one that was scored; NotShown otherwise.

        What our decoder refuses, a bomb or a half of a picture, is for no browser to show either.
        """
        data = self._fetched(image)
        return Original(data, _SAFE_KINDS.get(kind_of(data)) if self._is_picture(image) else None)

    def _is_picture(self, image: ShownImage) -> bool:
        try:
            self.small(image)
        except NotShown as error:
            return error.why is not WhyNot.UNREADABLE
        return True

    def changed(self, images: Sequence[ShownImage]) -> dict[int, WhyNot]:
        """Which of these are replaced or gone by now, as S3 says; without its answer nothing is known."""
        asked = {self._asking.submit(self._change, image): image.image_id for image in images}
        done, late = wait(asked, timeout=_ASKED_S)
        for one in late:
            one.cancel()
        found = {asked[one]: one.result() for one in done if one.exception() is None}
        return {image_id: why for image_id, why in found.items() if why is not None}

    def _change(self, image: ShownImage) -> WhyNot | None:
        now = self._bucket(image.bucket).listed(image.key)
        if now is None:
            return WhyNot.GONE
        return None if (now.etag, now.size_bytes) == (image.etag, image.size_bytes) else WhyNot.REPLACED

    def _made(self, image: ShownImage) -> SmallPicture:
        data = self._fetched(image)
        try:
            picture = self._decoded(data)
        except UnreadableImage as error:
            raise NotShown(WhyNot.UNREADABLE, f"it cannot be decoded: {one_line(error)}") from error
        pixels = _scored(picture, image.rendering)
        return SmallPicture(
            thumbnail(pixels, picture.size, is_covered=True),
            thumbnail(pixels, picture.size, is_covered=False),
            perceptual_hash(pixels),
        )

    def _decoded(self, data: bytes) -> RenderedPicture:
        with self._free:
            with self._lending:
                decoder = self._decoders.pop()
            try:
                return decoder.render(data)
            finally:
                with self._lending:
                    self._decoders.append(decoder)

    def _fetched(self, image: ShownImage) -> bytes:
        listed = ListedObject(image.bucket, image.key, image.etag, image.size_bytes, image.last_modified)
        try:
            data = self._bucket(image.bucket).fetch(listed)
        except NotFetched as error:
            raise _explained(error) from error
        except SnifferError as error:
            raise NotShown(WhyNot.AWAY, f"S3 does not give it now: {one_line(error)}") from error
        if image.content_hash is not None and hashlib.sha256(data).digest() != image.content_hash:
            raise NotShown(WhyNot.REPLACED, "under its key are other bytes by now than those that were scored")
        return data

    def _bucket(self, name: str) -> Bucket:
        with self._opening:
            if name not in self._buckets:
                bucket = self._open_bucket(name)
                bucket.check(reads_all=False)
                self._buckets[name] = bucket
            return self._buckets[name]


def _explained(error: NotFetched) -> NotShown:
    verdict = error.verdict
    if verdict.outcome is Outcome.GONE:
        if verdict.code == "replaced":
            return NotShown(WhyNot.REPLACED, "it was replaced since it was scored: the next scan scores what is there")
        return NotShown(WhyNot.GONE, "it was deleted since it was scored")
    return NotShown(WhyNot.AWAY, f"S3 does not give it: {one_line(verdict.message)}")


def _scored(picture: RenderedPicture, rendering: str | None) -> bytes:
    """The pixels that have the score; of a decoder that names its renderings otherwise, the first."""
    return picture.pixels[picture.names.index(rendering) if rendering in picture.names else 0]
