"""A bucket, a database and a model server that belong together, for tests that run whole scans as real processes."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sqlalchemy import create_engine, text

from sniffer.core.model_records import MODEL_NAME
from sniffer.core.records import Certificate, Outcome
from sniffer_local.processes import Child, free_port
from sniffer_local.serving import serving_service, serving_url
from sniffer_serve.command import newest_of
from support.programs import Program
from support.scratch_bucket import ScratchBucket


class ModelServerProcess(Child):
    """The project's model server over the tiny model, as a process that tests may kill and start again."""

    def __init__(self, base: Path, log: Path) -> None:
        self.port = free_port()
        self.url = serving_url(self.port)
        super().__init__(serving_service(newest_of(MODEL_NAME, base), self.port, log))


def jpeg(seed: int, side: int = 64) -> bytes:
    """A small JPEG unlike any of another seed."""
    pixels = np.random.default_rng(seed).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).resize((side, side)).save(file, "JPEG")
    return file.getvalue()


@dataclass
class Fleet:
    """A bucket, a database and a model server that belong together; starts scans and looks at what they left."""

    bucket: ScratchBucket
    database_url: str
    environ: dict[str, str]
    folder: Path
    keys: list[str] = field(default_factory=list)

    def fill(self, count: int) -> None:
        """Put so many different images into the bucket."""
        for number in range(count):
            self.put(f"images/{number:04}.jpg", jpeg(number))

    def put(self, key: str, body: bytes) -> None:
        """Put one object."""
        self.bucket.put(key, body)
        self.keys.append(key)

    def start(self, *flags: str, program: str = "sniffer.scan", **environ: str) -> Program:
        """Start a scan of the bucket."""
        # One consumer unless a test is about several: each costs a second of processor time to start.
        consumers = ["--consumers=1"] if program == "sniffer.scan" else []
        argv = [program, f"--bucket={self.bucket.name}", f"--result={self.certificate_path}", *consumers, *flags]
        return Program(*argv, environ=self.environ | environ)

    def scan(self, *flags: str, status: int = 0, **environ: str) -> Certificate:
        """Run a whole scan, expect that exit status, and return its certificate."""
        with self.start(*flags, **environ) as program:
            assert program.wait() == status, program.text()
        return self.certificate()

    @property
    def certificate_path(self) -> Path:
        return self.folder / "certificate.json"

    def certificate(self) -> Certificate:
        """The last certificate that was written."""
        return Certificate.parse(json.loads(self.certificate_path.read_text()))

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What MySQL answers."""
        engine = create_engine(self.database_url)
        with engine.connect() as connection:
            found = [tuple(row) for row in connection.execute(text(query))]
        engine.dispose()
        return found

    def stored(self) -> int:
        """How many predictions there are now."""
        count: int = self.rows("SELECT COUNT(*) FROM predictions")[0][0]
        return count

    def assert_every_object_has_one_row(self) -> None:
        """No image lost, none doubled: the bucket's keys are exactly the rows' keys."""
        found = self.rows("SELECT i.object_key FROM images i JOIN predictions p USING (image_id)")
        assert sorted(row[0].decode() for row in found) == sorted(self.keys)


def counted(certificate: Certificate) -> dict[str, int]:
    """The outcomes that are not zero, by name."""
    return {str(outcome): certificate.outcomes[outcome] for outcome in Outcome if certificate.outcomes[outcome]}
