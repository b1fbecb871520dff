"""The benchmark's other side: decode and predict the same images in one process, with no S3, ZeroMQ, REST or MySQL.

`python -m sniffer_local.ceiling make MODEL_DIR` writes the model that both sides use; `… run MODEL_DIR IMAGES_DIR`
prints one JSON line: images_per_s, and cpu_ms and model_cpu_ms per image.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from sniffer.adapters.images.render import decode
from sniffer.core.model_records import PIXEL_BYTES
from sniffer_model.training.backbone import FEATURES, build_backbone
from sniffer_model.training.features import LabelledFeatures
from sniffer_model.training.head import HeadOptions, train_head
from sniffer_model.training.network import load_signatures, save_for_serving, serving_network

BATCH = 32
PREDICTS_AT_ONCE = 2
"""So that the end of one batch, where a core idles, overlaps with the beginning of the next."""


def make_model(directory: Path) -> None:
    """Write a ResNet50 with a head that learnt nothing: what it says does not matter here, what it costs does."""
    rng = np.random.default_rng(0)
    examples = rng.random((64, FEATURES), np.float32)  # pooled activations are never negative
    features = LabelledFeatures((), examples, np.arange(64) % 2 == 1, 0)
    head = train_head(features, features, HeadOptions(max_epochs=1)).network
    save_for_serving(serving_network(build_backbone("random"), head, temperature=1.5), directory)


def run(model: Path, images: Sequence[bytes]) -> dict[str, float]:
    """Every image decoded and predicted once, as fast as this machine can; a first batch warms up uncounted."""
    predict = load_signatures(model)["pixels"]
    model_cpu_ms = _model_cpu_ms(predict)
    began, cpu_began = time.monotonic(), time.process_time()
    with ThreadPoolExecutor(os.cpu_count()) as decoders, ThreadPoolExecutor(PREDICTS_AT_ONCE) as predictors:
        # A bounded look-ahead on both stages: a fleet does not hold a million decoded images either.
        pixels = _ahead((decoders.submit(_decoded, data) for data in images), 4 * BATCH)
        batches = _ahead(
            (predictors.submit(_predicted, predict, batch) for batch in _batched(pixels)), PREDICTS_AT_ONCE
        )
        done = sum(batches)
    return {
        "images_per_s": done / (time.monotonic() - began),
        "cpu_ms": 1000 * (time.process_time() - cpu_began) / done,
        "model_cpu_ms": model_cpu_ms,
    }


def _model_cpu_ms(predict: Any) -> float:
    """CPU of the model alone, per image, after its first batch."""
    batch = tf.constant([bytes(PIXEL_BYTES)] * BATCH)
    predict(pixels=batch)
    began = time.process_time()
    for _ in range(4):
        predict(pixels=batch)
    return 1000 * (time.process_time() - began) / (4 * BATCH)


def _decoded(data: bytes) -> bytes:
    return decode(data).tobytes()


def _predicted(predict: Any, batch: Sequence[bytes]) -> int:
    return int(predict(pixels=tf.constant(batch))["score"].numpy().size)


def _ahead(futures: Iterable[Future[Any]], count: int) -> Iterable[Any]:
    waiting: deque[Future[Any]] = deque()
    for future in futures:
        waiting.append(future)
        if len(waiting) > count:
            yield waiting.popleft().result()
    for future in waiting:
        yield future.result()


def _batched(items: Iterable[bytes]) -> Iterable[list[bytes]]:
    batch: list[bytes] = []
    for item in items:
        batch.append(item)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def main(argv: Sequence[str]) -> int:
    """Run the program: `make MODEL_DIR`, or `run MODEL_DIR IMAGES_DIR`."""
    if argv[0] == "make":
        make_model(Path(argv[1]))
    else:
        images = [path.read_bytes() for path in sorted(Path(argv[2]).iterdir())]
        print(json.dumps(run(Path(argv[1]), images)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
