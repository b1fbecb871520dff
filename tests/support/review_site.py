"""A review page over a real database and a real S3 with pictures: in this process, or as a process of its own."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from argon2 import PasswordHasher
from PIL import Image
from starlette.testclient import TestClient

from sniffer.adapters.mysql.database import Database
from sniffer.adapters.s3.bucket import Bucket
from sniffer.adapters.s3.locations import open_bucket
from sniffer.core.records import Outcome, Result
from sniffer.core.review_accounts import ReviewRole
from sniffer.core.review_settings import ReviewSettings
from sniffer.core.settings import DatabaseSettings, FetchSettings, ImageSettings
from sniffer.decoding.caged import CagedDecoder
from sniffer.decoding.process import open_decoder
from sniffer.review.keeping import ImageKeeper
from sniffer.review.web.app import make_app
from sniffer.review.web.oidc import OidcProvider
from sniffer.review.web.parts import ReviewParts
from sniffer.review.web.pictures import PictureSource
from sniffer.review.web.pool import DatabasePool
from sniffer_local.processes import answers_http, free_port
from support.programs import Program, eventually
from support.scratch_bucket import ScratchBucket
from support.stored_rows import model, record

URL = "http://127.0.0.1:8090"
PASSWORD = "correct horse battery staple"
cheap_hash = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash
"""Makes hashes that are cheap to check, as they say themselves; the product makes none like them."""
PASSWORD_HASH = cheap_hash(PASSWORD)


def jpeg(seed: int, *, variant: int = 0, size: tuple[int, int] = (320, 240)) -> bytes:
    """A picture of its own; its variants look alike."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)
    if variant:
        image.putpixel((variant, 0), (variant % 256, 0, 0))
    out = io.BytesIO()
    image.save(out, "JPEG", quality=90 - variant % 5)
    return out.getvalue()


def fill(database: Database, bucket: ScratchBucket, objects: Mapping[str, tuple[bytes, float]]) -> None:
    """Put these objects into the bucket, and score them as a scan by the stable model 1 (threshold 0.5) would."""
    for key, (data, _) in objects.items():
        bucket.put(key, data)
    if database.models.get(1) is None:
        database.models.register(model(1))
        database.models.promote(1)
    reader = opened(bucket.name)
    listed = [one for page in reader.pages("") for one in page if one.key in objects]
    results = [
        Result(one, Outcome.PREDICTED, objects[one.key][1], hashlib.sha256(objects[one.key][0]).digest())
        for one in listed
    ]
    record(database, results)
    database.review_queue.refresh()


def opened(name: str) -> Bucket:
    """The bucket as the page reads it."""
    bucket = open_bucket(name, FetchSettings(patience_s=5), ImageSettings().max_bytes)
    bucket.check(reads_all=False)
    return bucket


def add_accounts(database: Database, **roles: str) -> None:
    """Accounts with PASSWORD."""
    for name, role in roles.items():
        database.review_accounts.add(name, ReviewRole(role), PASSWORD_HASH)


@dataclass(frozen=True)
class Site:
    """The page in this process."""

    app: object
    parts: ReviewParts

    def client(self, name: str | None = None) -> TestClient:
        """A browser of its own, signed in as that person."""
        client = TestClient(self.app, base_url=self.parts.settings.url, follow_redirects=False)  # type: ignore[arg-type]
        if name is not None:
            answer = client.post("/login", data={"name": name, "password": PASSWORD})
            assert answer.status_code == 303, answer.text
        return client


_OPEN = contextlib.ExitStack()


@functools.cache
def _decoder() -> CagedDecoder:
    """The decoder of all pages in this process, one at a time: to start one costs more than most tests."""
    return _OPEN.enter_context(open_decoder(ImageSettings()))


def end_decoder() -> None:
    """End it after the last page."""
    _decoder.cache_clear()
    _OPEN.close()


@contextlib.contextmanager
def site(database_url: str, settings: ReviewSettings | None = None) -> Iterator[Site]:
    """The page over that database, and the S3 of the AWS variables."""
    settings = settings or ReviewSettings(URL)
    pool = DatabasePool(DatabaseSettings(database_url, patience_s=5), size=3)
    oidc = None if settings.oidc is None else OidcProvider(settings.oidc, f"{settings.url}/login/oidc/done")
    keeper = ImageKeeper(settings.keep_to, opened, FetchSettings(patience_s=5)) if settings.keep_to else None
    parts = ReviewParts(settings, pool, PictureSource(opened, [_decoder()]), oidc, keeper=keeper)
    yield Site(make_app(parts), parts)
    pool.close()


@contextlib.contextmanager
def review_process(database_url: str, **environ: str) -> Iterator[tuple[Program, str]]:
    """`sniffer review serve` as a process, and its address."""
    port = free_port()
    variables = {"SNIFFER_DATABASE_URL": database_url, **environ}
    with Program("sniffer.review.web.serve", "--port", str(port), environ=variables) as program:
        eventually(
            lambda: answers_http(port, "/healthz") or program.process.poll() is not None, f"an answer: {program.text()}"
        )
        assert program.process.poll() is None, program.text()
        yield program, f"http://127.0.0.1:{port}"


def field(html: str, name: str) -> str:
    """The value of the first field of that name in a page."""
    found = re.search(rf'name="{name}" value="([^"]*)"', html)
    assert found is not None, f"no field {name}"
    return found[1]


def fields(html: str, name: str) -> list[str]:
    """The values of all of them."""
    return re.findall(rf'name="{name}" value="([^"]*)"', html)
