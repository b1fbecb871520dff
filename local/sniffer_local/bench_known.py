"""What a benchmark's bucket and database hold: pictures, models, and images that are known already."""

from __future__ import annotations

import io

from PIL import Image

from sniffer.adapters.images import PREPROCESSING_VERSION
from sniffer.core.model_records import ModelRecord, ModelStatus
from sniffer_local.mariadb import DatabaseSite
from sniffer_local.samples.generate import labelled_images

MAX_SIDE = 1080


def drawn_pictures(count: int) -> list[bytes]:
    """JPEGs of at most 1,080 px a side, all different."""
    drawn = []
    for sample in labelled_images(seed=5, count=count):
        with Image.open(io.BytesIO(sample.data)) as image:
            picture = image.convert("RGB")
        picture.thumbnail((MAX_SIDE, MAX_SIDE))
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=88)
        drawn.append(file.getvalue())
    return drawn


def known_model(version: int) -> ModelRecord:
    """A blessed model of that version."""
    digest = f"{version:064x}"
    return ModelRecord(version, digest, digest, PREPROCESSING_VERSION, 0.5, ModelStatus.BLESSED)


def store_known(site: DatabaseSite, database: str, bucket: str, keys: int) -> None:
    """So many objects of that bucket, `k/000000000.jpg` and so on, with a score of model version 2."""
    modified_us = "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', '2026-01-01')"
    key, etag = "CONCAT('k/', LPAD(seq - 1, 9, '0'), '.jpg')", "LPAD(HEX(seq - 1), 32, '0')"
    site.execute(
        f"INSERT INTO {database}.images (identity, bucket, object_key, etag, size_bytes, last_modified) "
        f"SELECT UNHEX(SHA2(CONCAT_WS(CHAR(0), '{bucket}', {etag}, 1, {modified_us}, {key}), 256)), '{bucket}', "
        f"{key}, {etag}, 1, '2026-01-01' FROM {database}.seq_1_to_{keys}",
        f"INSERT INTO {database}.predictions (image_id, model_version, scan_number, outcome, score, scored_at) "
        f"SELECT image_id, 2, 0, 'predicted', 0.1, NOW(6) FROM {database}.images WHERE object_key LIKE 'k/%'",
    )
