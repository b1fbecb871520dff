"""Sample images by seed: labelled ones to train on, and the objects of a bucket to scan.

Every image is drawn from a random generator of its own, seeded by (seed, stream, index): the same on every machine
with the same Pillow and NumPy, in whatever order and in however many processes, and the same when the count grows.
"""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
from PIL import Image

from sniffer.core.model_records import LABELS
from sniffer_local.samples.backdrops import backdrop
from sniffer_local.samples.camera import LONG_SIDES_PX, develop, some_shot
from sniffer_local.samples.containers import draw_bottle, draw_powder
from sniffer_local.samples.drugs import draw_blister, draw_pills
from sniffer_local.samples.food import draw_food
from sniffer_local.samples.scenes import draw_face, draw_landscape
from sniffer_local.samples.screens import draw_screenshot
from sniffer_local.samples.surface import Light, Rng, some_light

Draw = Callable[[Image.Image, Rng, Light], None]

SLICES: Mapping[str, Mapping[str, Draw]] = {
    "other": {
        "food": draw_food,
        "landscape": draw_landscape,
        "face": draw_face,
        "screenshot": draw_screenshot,
    },
    "drugs": {
        "pills": draw_pills,
        "blister": draw_blister,
        "bottle": draw_bottle,
        "powder": draw_powder,
    },
}
"""What there is to draw of each class; a slice is a kind of picture that is evaluated on its own."""

TRAINING_STREAM, BUCKET_STREAM = 1, 2
"""First halves of an image's seed, so that the bucket holds no image of the training set of the same seed."""


@dataclass(frozen=True, slots=True)
class SampleImage:
    """One encoded image of a known class; `suffix` is its format's usual file name end, with the dot."""

    label: str
    slice: str
    data: bytes
    suffix: str


@dataclass(frozen=True, slots=True)
class Domain:
    """What pictures are set in: kinds of backdrops (any when none is named), and the range of their long sides."""

    backdrops: tuple[str, ...] = ()
    long_sides_px: tuple[int, int] = LONG_SIDES_PX


ANYWHERE = Domain()


@dataclass(frozen=True, slots=True)
class Order:
    """All that decides one sample image."""

    seed: int
    stream: int
    index: int
    label: str
    slice: str
    domain: Domain = ANYWHERE


def labelled_images(seed: int, count: int, *, processes: int = 1, domain: Domain = ANYWHERE) -> Iterator[SampleImage]:
    """Images for training, in order of their index: classes take turns, and within each its slices.

    With several processes, the caller's main module must be safe to import, as multiprocessing asks.
    """
    orders = (order_of(seed, TRAINING_STREAM, index, LABELS[index % 2], index // 2) for index in range(count))
    return draw_all((replace(order, domain=domain) for order in orders), processes)


def order_of(seed: int, stream: int, index: int, label: str, turn: int) -> Order:
    """The order of an image of that class whose slice is the `turn`-th, round and round."""
    slices = tuple(SLICES[label])
    return Order(seed, stream, index, label, slices[turn % len(slices)])


def draw_sample(order: Order) -> SampleImage:
    """Draw and encode one image; the same bytes for the same order."""
    rng = np.random.default_rng([order.seed, order.stream, order.index])
    shot = some_shot(rng, order.domain.long_sides_px)
    picture = backdrop(rng, shot.canvas_size, order.domain.backdrops)
    SLICES[order.label][order.slice](picture, rng, some_light(rng))
    return SampleImage(order.label, order.slice, develop(picture, rng, shot), shot.suffix)


def draw_all(orders: Iterable[Order], processes: int) -> Iterator[SampleImage]:
    """Draw in so many processes, yield in order; holds no more than a few images per process."""
    if processes <= 1:
        yield from map(draw_sample, orders)
        return
    # Spawned, not forked: the caller may hold threads (TensorFlow's, S3's) that would not survive a fork.
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        left = iter(orders)
        pending: deque[Future[SampleImage]] = deque(
            pool.submit(draw_sample, order) for order in islice(left, 4 * processes)
        )
        while pending:
            yield pending.popleft().result()
            pending.extend(pool.submit(draw_sample, order) for order in islice(left, 1))
