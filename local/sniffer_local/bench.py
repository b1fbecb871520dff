"""`make bench`: the speed of scan and training as ratios taken side by side in one run.

Printed, and written to .local/bench.json.

A stack of its own in a temporary folder: S3, MariaDB, the model server and the fleet, against the ceiling.
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import psutil

from sniffer.adapters.images import DECODER_VERSION
from sniffer.adapters.mysql.database import Database
from sniffer.core.files import check_writable, write_json
from sniffer.core.model_records import MODEL_NAME
from sniffer.core.parser import Parser
from sniffer.core.program import Program
from sniffer.core.records import ListedObject, ScanRequest
from sniffer.core.settings import MIB, DatabaseSettings
from sniffer.scan.listing import ListingTally, images_to_score
from sniffer_local.bench_fleet import FLEET_PARTS, measure_part
from sniffer_local.bench_known import drawn_pictures, known_model, store_known
from sniffer_local.bench_watch import Watch
from sniffer_local.figure import Figure
from sniffer_local.layout import CHECKOUT
from sniffer_local.mariadb import MariaDb, create_database
from sniffer_local.processes import Child, free_port
from sniffer_local.s3 import S3, aws_environ
from sniffer_local.serving import serving_service, serving_url
from sniffer_serve.command import newest_of

BUCKET = "bench"
IMAGES = 960
DRAWN = 120
"""Different pictures; each is used several times with other bytes at its end, so that none is a duplicate."""
ROUNDS = 3
KNOWN_KEYS = 1_000_000
PAGE = 1_000
BUFFER_POOL_BYTES = 1024 * MIB


class Bench:
    """The stack of the benchmark, and the measurements on it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._mariadb = MariaDb(folder / "mariadb", durable=True)  # a commit costs what it costs in production
        self._s3 = S3(folder / "s3")
        self._serving_port = free_port()
        self._server = Child(
            serving_service(newest_of(MODEL_NAME, folder / "models"), self._serving_port, folder / "serve.log")
        )
        self._environ: dict[str, str] = {}

    def __enter__(self) -> Bench:
        _say("making a ResNet50, images and a stack of its own")
        _run_ceiling("make", str(self._folder / "models" / "1"))
        for server in (self._mariadb, self._s3, self._server):
            server.start()
        self._environ = {
            "SNIFFER_DATABASE_URL": create_database(self._mariadb.site, "bench"),
            "SNIFFER_SERVING_URL": serving_url(self._serving_port),
            "PATH": "/usr/bin:/bin",
            **aws_environ(self._s3.port),
        }
        with self._database() as database:
            database.migrate()
            for version in (1, 2):
                database.models.register(known_model(version))
        self._fill_bucket()
        return self

    def __exit__(self, *_: object) -> None:
        for server in (self._server, self._s3, self._mariadb):
            server.stop()

    def measure_scan(self) -> list[Figure]:
        """The fleet against the ceiling, in turns."""
        ratios, cpu_ms, peaks, growths, firsts = [], [], [], [], []
        for turn in range(ROUNDS):
            ceiling = _run_ceiling("run", str(self._folder / "models" / "1"), str(self._folder / "images"))
            watch, began = self._scan(f"turn-{turn}")
            first, last, count, first_count = self._span(f"turn-{turn}")
            rate = (count - first_count) / (last - first)
            ratios.append(rate / ceiling["images_per_s"])
            cpu_ms.append(1000 * watch.cpu_between(first, last) / (count - first_count))
            peaks.append(watch.peak_bytes() / MIB)
            growths.append(watch.growth_bytes() / MIB)
            firsts.append(first - began)
            _say(
                f"turn {turn + 1}: ceiling {ceiling['images_per_s']:.1f} images/s ({ceiling['cpu_ms']:.1f} ms CPU), "
                f"scan {rate:.1f} images/s, fleet {cpu_ms[-1]:.2f} ms CPU"
            )
        return [
            Figure("scan throughput / ceiling", statistics.median(ratios), 0.90),
            Figure("CPU outside the model, per image", statistics.median(cpu_ms), 6.0, False, "ms"),
            Figure("first image scored after the start", statistics.median(firsts), 5.0, False, "s"),
            Figure("memory of the largest process of the fleet", max(peaks), 250.0, False, "MiB"),
            Figure("memory growth, last third over middle third", max(growths), 25.0, False, "MiB"),
        ]

    def measure_rescan(self) -> list[Figure]:
        """The listing of a million keys that are all known: look-ups and memory."""
        _say(f"storing {KNOWN_KEYS:,} known images")
        # As in production: the indexes of what is looked up stay in memory.
        self._mariadb.site.execute(f"SET GLOBAL innodb_buffer_pool_size = {BUFFER_POOL_BYTES}")
        store_known(self._mariadb.site, "bench", BUCKET, KNOWN_KEYS)
        process, memory = psutil.Process(), []
        tally = ListingTally()
        with self._database() as database:
            began = time.monotonic()
            pages = images_to_score(
                _pages(),
                ScanRequest("rescan", BUCKET),
                lambda identities: dict.fromkeys(database.images.settled(identities, 2, DECODER_VERSION), False),
                tally,
            )
            for number, page in enumerate(pages):
                if page:
                    raise RuntimeError(f"{page[0].key} should have been known")
                if number % 50 == 0:
                    memory.append(process.memory_info().rss)
            rate = KNOWN_KEYS / (time.monotonic() - began)
        growth = (memory[-1] - memory[len(memory) // 10]) / MIB
        return [
            Figure("rescan of an unchanged bucket", rate, 20_000, True, "keys/s"),
            Figure("memory growth over that rescan", growth, 10.0, False, "MiB"),
        ]

    # ---- parts --------------------------------------------------------------------------------------------

    def _database(self) -> Database:
        return Database(DatabaseSettings(self._environ["SNIFFER_DATABASE_URL"]))

    def _fill_bucket(self) -> None:
        client = self._s3.client()
        client.create_bucket(Bucket=BUCKET)
        (self._folder / "images").mkdir()
        for number, data in enumerate(_images()):
            client.put_object(Bucket=BUCKET, Key=f"{number:05}.jpg", Body=data)
            (self._folder / "images" / f"{number:05}.jpg").write_bytes(data)

    def _scan(self, scan_id: str) -> tuple[Watch, float]:
        argv = [f"--bucket={BUCKET}", "--model-version=1", "--rescan", f"--scan-id={scan_id}"]
        with (self._folder / "scan.log").open("ab") as log:
            began = time.time()
            process = psutil.Popen(
                [sys.executable, "-m", "sniffer.scan", *argv], stdout=log, stderr=log, env=self._environ
            )
            watch = Watch(process)
            thread = threading.Thread(target=watch.sample_until_end)
            thread.start()
            thread.join()
        if process.returncode != 0:
            raise RuntimeError(f"the scan failed:\n{(self._folder / 'scan.log').read_text()[-3000:]}")
        return watch, began

    def _span(self, scan_id: str) -> tuple[float, float, int, int]:
        """When the first and the last batch of a scan were stored, its images, and those of the first batch."""
        query = (
            "SELECT scored_at, COUNT(*) FROM bench.predictions JOIN bench.scans ON number = scan_number "
            f"WHERE scan_id = '{scan_id}' GROUP BY 1 ORDER BY 1"
        )
        rows = self._mariadb.site.rows(query)
        batches = [(moment.replace(tzinfo=UTC).timestamp(), count) for moment, count in rows]
        return batches[0][0], batches[-1][0], sum(count for _, count in batches), batches[0][1]


def _images() -> Iterator[bytes]:
    """JPEGs, all different."""
    drawn = drawn_pictures(DRAWN)
    for number in range(IMAGES):
        # Bytes after the end of a JPEG are another object with the same picture.
        yield drawn[number % DRAWN] + number.to_bytes(4, "big")


def _pages() -> Iterator[list[ListedObject]]:
    when = datetime(2026, 1, 1, tzinfo=UTC)
    for start in range(0, KNOWN_KEYS, PAGE):
        yield [ListedObject(BUCKET, f"k/{i:09}.jpg", f"{i:032X}", 1, when) for i in range(start, start + PAGE)]


def _run_ceiling(*argv: str) -> Mapping[str, float]:
    done = subprocess.run(
        [sys.executable, "-m", "sniffer_local.ceiling", *argv], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"the ceiling failed:\n{done.stderr[-3000:]}")
    lines = done.stdout.strip().splitlines()
    found: dict[str, float] = json.loads(lines[-1]) if lines else {}
    return found


def _measure_training(folder: Path) -> list[Figure]:
    # TensorFlow must not be in this process while its memory is measured.
    from sniffer_local.bench_export import measure_export
    from sniffer_local.bench_training import measure_training

    _say("training: feature extraction, the head, and the exported graph")
    return measure_training(folder) + measure_export(folder / "export")


def _measure_versions(folder: Path) -> list[Figure]:
    from sniffer_local.bench_versions import measure_versions

    _say("the model server's memory and start")
    return measure_versions(folder)


def _say(text: str) -> None:
    print(f"bench: {text}", flush=True)


def _add_arguments(parser: Parser) -> None:
    parser.add_argument(
        "--out",
        type=Path,
        default=CHECKOUT / ".local" / "bench.json",
        metavar="FILE",
        help="where the figures go (default: .local/bench.json of the checkout)",
    )
    parser.add_argument(
        "--only",
        choices=["scan", "rescan", "training", "versions", *FLEET_PARTS],
        help="measure only that; the last four are measured only when they are asked for: consumers and producer take "
        "about two minutes each, shards and listing about four",
    )


def _run(arguments: argparse.Namespace) -> int:
    check_writable(arguments.out)
    # So that an interrupted benchmark takes its servers with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="sniffer-bench-") as folder:
        if arguments.only in FLEET_PARTS:
            figures += measure_part(Path(folder, "fleet"), arguments.only)
        if arguments.only in (None, "scan", "rescan"):
            with Bench(Path(folder)) as bench:
                figures += bench.measure_scan() if arguments.only != "rescan" else []
                figures += bench.measure_rescan() if arguments.only != "scan" else []
        if arguments.only in (None, "training"):
            figures += _measure_training(Path(folder, "training"))
        if arguments.only in (None, "versions"):
            figures += _measure_versions(Path(folder, "versions"))
    for figure in figures:
        print(figure.describe())
    document = {f.name: {"value": round(f.value, 4), "bound": f.bound, "holds": f.holds} for f in figures}
    write_json(arguments.out, document)
    return 0 if all(figure.holds is not False for figure in figures) else 1


PROGRAM = Program(
    command="sniffer local bench",
    summary="Measure the speed of scan and training as ratios taken side by side in one run, on a stack of its own in "
    "a temporary folder. The exit status is 0 when every bound holds.",
    run=_run,
    add_arguments=_add_arguments,
    examples=(
        "sniffer local bench",
        "sniffer local bench --only scan --out scan.json",
        "sniffer local bench --only producer --out producer.json",
    ),
    extra="dev",
    grace_s=None,
)

main = PROGRAM.main

if __name__ == "__main__":
    sys.exit(main())
