"""What a fleet's parts can do, each without waiting for the others: consumers, a producer, a million keys in shards.

The programs are the real ones, over MariaDB; S3 and the model server are stand-ins that answer at once, or as late as
is said. On few cores all of them share the CPU: what a core does is told by the CPU time of the processes, which other
work on the machine does not change much, and what is told by the clock are ratios, side by side, in turns.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from threading import Thread
from typing import Any

import msgspec
import psutil

from sniffer.adapters.mysql.database import Database
from sniffer.core.settings import MIB, DatabaseSettings
from sniffer_local.bench_known import drawn_pictures, known_model, store_known
from sniffer_local.bench_servers import key
from sniffer_local.bench_watch import Watch
from sniffer_local.figure import Figure
from sniffer_local.mariadb import MariaDb, create_database
from sniffer_local.processes import Child, Service, answers_on, free_port
from sniffer_local.s3 import aws_environ

BUCKET = "bench"
IMAGES = 2_000
"""Of each fleet."""
FLEETS = ((1, 1), (2, 1), (4, 1), (2, 2), (4, 2))
"""Consumers and shards."""
FEW, MANY = 2_000, 12_000
"""Images of the two scans whose difference says what one image costs a producer."""
KEYS = 1_000_000
SHARDS = 64
LISTED_SIDE_BY_SIDE = 400_000
LATENCY_MS = 50.0
"""Of each page of a listing: S3 takes 50 to 100 ms for a thousand keys."""
ROUNDS = 3
BUFFER_POOL_BYTES = 1024 * MIB


@dataclass(frozen=True, slots=True)
class FinishedProgram:
    """A program that has ended: how long it took, its CPU time, the most memory that it held."""

    seconds: float
    cpu_s: float
    peak_bytes: int


class FleetBench:
    """MariaDB, a stand-in of the model server, and the environment of the programs."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        self._mariadb = MariaDb(folder / "mariadb", durable=True)
        self._model_port = free_port()
        self._model = Child(self._stand_in("model", self._model_port))
        self._environ: dict[str, str] = {}

    def __enter__(self) -> FleetBench:
        self._mariadb.start()
        self._model.start()
        url = create_database(self._mariadb.site, "bench")
        self._mariadb.site.execute(f"SET GLOBAL innodb_buffer_pool_size = {BUFFER_POOL_BYTES}")
        self._environ = {
            "SNIFFER_DATABASE_URL": url,
            "SNIFFER_SERVING_URL": f"http://127.0.0.1:{self._model_port}/v1/models/bench",
            "PATH": "/usr/bin:/bin",
        }
        with Database(DatabaseSettings(url)) as database:
            database.migrate()
            for version in (1, 2):
                database.models.register(known_model(version))
        return self

    def __exit__(self, *_: object) -> None:
        self._model.stop()
        self._mariadb.stop()

    # ---- consumers and producers --------------------------------------------------------------------------

    def measure_fleets(self) -> list[Figure]:
        """Images a second of a consumer's core, for fleets of several sizes."""
        figures = []
        with self._bucket(IMAGES, image=self._picture()):
            for consumers, shards in FLEETS:
                cpu_s, rate = self._fleet(consumers, shards)
                title = f"{consumers} consumers, {shards} shards"
                _say(f"{title}: {rate:.0f} images/s here, {1000 * cpu_s:.2f} ms CPU of consumers an image")
                figures.append(Figure(f"images/s of a consumer's core, {title}", 1 / cpu_s, None, True, "images/s"))
        return figures

    def measure_producer(self) -> list[Figure]:
        """How many images a second one producer hands out, to a consumer that has nothing to do."""
        rates, cpu_ms = [], []
        with self._bucket(MANY, image=self._picture()):
            for turn in range(ROUNDS):
                few, _ = self._hand_out(f"few-{turn}", FEW)
                many, rate = self._hand_out(f"many-{turn}", MANY)
                rates.append(rate)
                cpu_ms.append(1000 * (many.cpu_s - few.cpu_s) / (MANY - FEW))
                _say(f"producer, turn {turn + 1}: {rate:.0f} images/s, {cpu_ms[-1]:.3f} ms CPU an image")
        return [
            Figure("images/s of one producer, beside all others", statistics.median(rates), None, True, "images/s"),
            Figure("images/s of one producer with a core of its own", 1000 / statistics.median(cpu_ms), 1000.0, True),
        ]

    def _fleet(self, consumers: int, shards: int) -> tuple[float, float]:
        """CPU seconds of consumers for an image, and images a second, without start and end."""
        name = f"fleet-{consumers}-{shards}"
        scans = [f"{name}-{shard}" for shard in range(shards)]
        producers = [self._start(self._produce(scan, *_part(IMAGES, at, shards))) for at, scan in enumerate(scans)]
        watches = []
        for number in range(consumers):
            endpoint = self._endpoint(scans[number % shards])
            watches.append(Watch(self._start(["sniffer.scan.consume", f"--endpoint={endpoint}"])))
        threads = [Thread(target=watch.sample_until_end) for watch in watches]
        for thread in threads:
            thread.start()
        for process in producers:
            self._expect(process, {0})
        for thread, watch in zip(threads, watches, strict=True):
            thread.join()
            self._check(watch.process.returncode, {0})
        first, last, count = self._span(scans)
        return sum(watch.cpu_between(first, last) for watch in watches) / count, count / (last - first)

    def _span(self, scans: Sequence[str]) -> tuple[float, float, int]:
        """When the first and the last batch were stored, and the images of all batches but the first."""
        names = ", ".join(f"'{scan}'" for scan in scans)
        rows = self._mariadb.site.rows(
            "SELECT scored_at, COUNT(*) FROM bench.predictions JOIN bench.scans ON number = scan_number "
            f"WHERE scan_id IN ({names}) GROUP BY 1 ORDER BY 1"
        )
        moments = [moment.replace(tzinfo=UTC).timestamp() for moment, _ in rows]
        return moments[0], moments[-1], sum(count for _, count in rows[1:])

    def _hand_out(self, scan: str, images: int) -> tuple[FinishedProgram, float]:
        """One producer and who acknowledges for it; what the producer used, and its pace."""
        result = self._folder / f"{scan}.json"
        argv = [*self._produce(scan, *_part(MANY, 0, MANY // images)), f"--result={result}"]
        producer = self._start(argv)
        helper = self._start(["sniffer_local.bench_servers", "acknowledge", self._endpoint(scan)])
        # Nothing was stored, and its certificate says so.
        ended = self._expect(producer, {1})
        self._expect(helper, {0})
        certificate: dict[str, Any] = msgspec.json.decode(result.read_bytes())
        if certificate["listed"] != images or "acknowledged" not in " ".join(certificate["problems"]):
            raise RuntimeError(f"the producer handed out other than {images} images: {certificate}")
        return ended, certificate["steady_images_per_s"]

    def _produce(self, scan: str, after: int, up_to: int) -> list[str]:
        flags = [f"--bucket={BUCKET}", "--model-version=1", "--rescan", f"--scan-id={scan}", "--flood-band=off"]
        if after:
            flags.append(f"--after={key(after - 1)}")
        return ["sniffer.scan.produce", *flags, f"--up-to={key(up_to - 1)}", f"--endpoint={self._endpoint(scan)}"]

    # ---- a million keys -----------------------------------------------------------------------------------

    def measure_shards(self) -> list[Figure]:
        """A million known keys: cut into 64 shards, all scanned, certified, and their memory."""
        _say(f"storing {KEYS:,} known images")
        store_known(self._mariadb.site, "bench", BUCKET, KEYS)
        with self._bucket(KEYS):
            plan = ["sniffer.cli", "plan", f"--bucket={BUCKET}", "--model-version=2", "--scan-id=million"]
            planned = self._run([*plan, f"--shards={SHARDS}"])
            began = time.monotonic()
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                shards = list(pool.map(self._scan_shard, range(1, SHARDS + 1)))
            scanned_s = time.monotonic() - began
            certified = self._run(["sniffer.cli", "certify", "--scan-id=million"])
            whole = self._run(self._list("whole", 0, KEYS))
            _say(f"a million keys in one scan: {whole.seconds:.1f} s, {whole.peak_bytes / MIB:.0f} MiB")
        largest = max(shard.peak_bytes for shard in shards)
        return [
            Figure(f"plan of {SHARDS} shards of a million keys", planned.seconds, 60.0, False, "s"),
            Figure(f"all {SHARDS} shards scanned, nothing new", scanned_s, None, False, "s"),
            Figure("certificate of the whole", certified.seconds, 60.0, False, "s"),
            Figure("memory of the largest shard's scan", largest / MIB, 250.0, False, "MiB"),
            Figure("memory, a million keys / a 64th of them", whole.peak_bytes / largest, 1.2, False),
        ]

    def measure_side_by_side(self) -> list[Figure]:
        """Listing and looking up known keys: four shards at once against one, with a latency as S3's."""
        ratios = []
        _say(f"storing {KEYS:,} known images")
        store_known(self._mariadb.site, "bench", BUCKET, KEYS)
        with self._bucket(KEYS, latency_ms=LATENCY_MS), ThreadPoolExecutor(4) as pool:
            for turn in range(ROUNDS):
                one = self._run(self._list(f"one-{turn}", 0, LISTED_SIDE_BY_SIDE))
                parts = [_part(LISTED_SIDE_BY_SIDE, shard, 4) for shard in range(4)]
                argvs = [self._list(f"four-{turn}-{shard}", *part) for shard, part in enumerate(parts)]
                began = time.monotonic()
                list(pool.map(self._run, argvs))
                four_s = time.monotonic() - began
                ratios.append(one.seconds / four_s)
                _say(f"listing, turn {turn + 1}: one {one.seconds:.1f} s ({one.cpu_s:.1f} s CPU), four {four_s:.1f} s")
        return [Figure("listing and look-up, 4 shards / 1 shard", statistics.median(ratios), 1.6)]

    def _scan_shard(self, shard: int) -> FinishedProgram:
        argv = ["sniffer.scan.produce", "--shard-of=million", f"--shard={shard}"]
        return self._run([*argv, f"--endpoint={self._endpoint(f'million-{shard}')}"])

    def _list(self, scan: str, after: int, up_to: int) -> list[str]:
        """A scan of keys that are all known."""
        flags = [flag for flag in self._produce(scan, after, up_to) if flag not in ("--model-version=1", "--rescan")]
        return [*flags, "--model-version=2"]

    # ---- parts --------------------------------------------------------------------------------------------

    def _picture(self) -> Path:
        path = self._folder / "picture.jpg"
        if not path.exists():
            path.write_bytes(drawn_pictures(1)[0])
            _say(f"a picture of {path.stat().st_size:,} bytes")
        return path

    @contextmanager
    def _bucket(self, keys: int, *, latency_ms: float = 0.0, image: Path | None = None) -> Iterator[None]:
        port = free_port()
        server = Child(self._stand_in("s3", port, BUCKET, str(keys), str(latency_ms), *([str(image)] if image else [])))
        server.start()
        self._environ |= aws_environ(port)
        yield
        server.stop()

    def _stand_in(self, kind: str, port: int, *words: str) -> Service:
        command = (sys.executable, "-m", "sniffer_local.bench_servers", kind, str(port), *words)
        return Service(kind, command, self._folder / f"{kind}.log", lambda: answers_on(port))

    def _endpoint(self, scan: str) -> str:
        return f"ipc://{self._folder}/{scan}.ipc"

    def _start(self, argv: Sequence[str]) -> psutil.Popen:
        with (self._folder / "programs.log").open("ab") as log:
            return psutil.Popen([sys.executable, "-m", *argv], stdout=log, stderr=log, env=self._environ)

    def _run(self, argv: Sequence[str]) -> FinishedProgram:
        return self._expect(self._start(argv), {0})

    def _expect(self, process: psutil.Popen, statuses: set[int]) -> FinishedProgram:
        """Wait for its end."""
        began = process.create_time()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        self._check(process.returncode, statuses)
        return FinishedProgram(time.time() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)

    def _check(self, status: int | None, expected: set[int]) -> None:
        if status not in expected:
            tail = (self._folder / "programs.log").read_text(errors="replace")[-3000:]
            raise RuntimeError(f"a program ended with status {status}:\n{tail}")


def _part(images: int, number: int, of: int) -> tuple[int, int]:
    """The range of one of so many equal parts."""
    return images * number // of, images * (number + 1) // of


def _say(text: str) -> None:
    print(f"bench: {text}", flush=True)


FLEET_PARTS: dict[str, Callable[[FleetBench], list[Figure]]] = {
    "consumers": FleetBench.measure_fleets,
    "producer": FleetBench.measure_producer,
    "shards": FleetBench.measure_shards,
    "listing": FleetBench.measure_side_by_side,
}
"""Each takes minutes, and is measured where it is asked for by name."""


def measure_part(folder: Path, part: str) -> list[Figure]:
    """That part, on a stack of its own."""
    with FleetBench(folder) as bench:
        return FLEET_PARTS[part](bench)
