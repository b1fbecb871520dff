"""A fleet over several hosts: a producer and consumers under CURVE, each in a network namespace of its own."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import zmq

from support.flaky_s3 import FlakyS3
from support.fleet import Fleet, counted
from support.hosts import Host, Network
from support.programs import Program, eventually
from support.tcp_proxy import TcpProxy

PORT = 5555
STRANGER = str(Path(__file__).with_name("stranger.py"))
PRODUCER_NAME = "sniffer-producer"


class SpreadFleet:
    """The producer's host is one, each consumer's another; S3, MySQL and the model server are reached over the network.

    `seconds_an_image` is how long S3 takes for each, so that a scan is long enough for what happens to it.
    """

    def __init__(self, fleet: Fleet, *, seconds_an_image: float, **environ: str) -> None:
        self.fleet = fleet
        self.network = Network()
        self._stack = ExitStack()
        self._seconds_an_image = seconds_an_image
        self._settings = {"SNIFFER_BATCH_SIZE": "2", "SNIFFER_FETCH_THREADS": "2"} | environ

    def __enter__(self) -> Self:
        with self._stack as stack:
            stack.enter_context(self.network)
            flaky = stack.enter_context(FlakyS3(self.fleet.bucket.endpoint_url))
            flaky.latency_s = self._seconds_an_image * int(self._settings["SNIFFER_FETCH_THREADS"])
            served = {"AWS_ENDPOINT_URL": flaky.endpoint_url}
            served |= {name: self.fleet.environ[name] for name in ("SNIFFER_DATABASE_URL", "SNIFFER_SERVING_URL")}
            environ = self.fleet.environ | {name: self._reachable(stack, url) for name, url in served.items()}
            self.environ = environ | self._settings
            self._make_keys()
            self.producer_host = self.network.host("producer")
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _reachable(self, stack: ExitStack, url: str) -> str:
        """The URL under which hosts reach what listens on the loopback."""
        port = urlsplit(url).port
        assert port is not None
        proxy = stack.enter_context(TcpProxy(port, host=self.network.services_address))
        return url.replace(f"127.0.0.1:{port}", f"{self.network.services_address}:{proxy.port}")

    def _make_keys(self) -> None:
        self.keys = self.fleet.folder / "keys"
        self.keys.mkdir()
        for name in ("producer", "consumer", "old"):
            public, secret = zmq.curve_keypair()
            (self.keys / f"{name}.pub").write_bytes(public)
            (self.keys / f"{name}.key").write_bytes(secret)
        shutil.copy(self.keys / "consumer.pub", self.keys / "consumers.pub")

    def _curve(self, who: str) -> dict[str, str]:
        return {
            "SNIFFER_CURVE_PUBLIC_FILE": str(self.keys / f"{who}.pub"),
            "SNIFFER_CURVE_SECRET_FILE": str(self.keys / f"{who}.key"),
            "SNIFFER_CURVE_SERVER_FILE": str(self.keys / "producer.pub"),
            "SNIFFER_CURVE_CLIENTS_FILE": str(self.keys / "consumers.pub"),
        }

    def produce(self, *flags: str, host: Host | None = None) -> Program:
        """The producer, until the scan's end or this fleet's."""
        argv = ["sniffer.scan.produce", f"--bucket={self.fleet.bucket.name}", f"--endpoint=tcp://*:{PORT}"]
        result = f"--result={self.fleet.certificate_path}"
        started = (host or self.producer_host).start(
            *argv, result, *flags, environ=self.environ | self._curve("producer")
        )
        return self._stack.enter_context(started)

    def consume(self, host: Host, *flags: str, producer: str | None = None) -> Program:
        """A consumer on that host."""
        endpoint = f"tcp://{producer or self.producer_host.address}:{PORT}"
        argv = ["sniffer.scan.consume", f"--endpoint={endpoint}", f"--name={host.namespace.rpartition('-')[2]}", *flags]
        return self._stack.enter_context(host.start(*argv, environ=self.environ | self._curve("consumer")))

    def stranger(self, host: Host, kind: str) -> Program:
        """Somebody on that host who tries to disturb the producer, without a pause."""
        endpoint = f"tcp://{self.producer_host.address}:{PORT}"
        return self._stack.enter_context(host.start(STRANGER, kind, endpoint, str(self.keys), environ=self.environ))

    def under_way(self, rows: int) -> None:
        """Wait until so many more images are stored."""
        until = self.fleet.stored() + rows
        eventually(lambda: self.fleet.stored() >= until, f"{until} rows are stored")

    def finish(self, producer: Program, images: int, within_s: float) -> None:
        """The scan ends in that time with a certificate that holds, and every image was predicted exactly once."""
        assert producer.wait(within_s) == 0, producer.text()
        certificate = self.fleet.certificate()
        assert certificate.holds and certificate.listed == images
        done = counted(certificate)
        assert done.get("predicted", 0) + done.get("unchanged", 0) == images, done
        self.fleet.assert_every_object_has_one_row()
        assert self.fleet.rows("SELECT DISTINCT outcome FROM predictions") == [("predicted",)]


def ended_after(consumer: Program) -> int:
    """How many images it says it did."""
    assert consumer.wait(60) == 0, consumer.text()
    (found,) = re.findall(r"ended after (\d+) images", consumer.text())
    return int(found)


def seconds_for(images: int, seconds_an_image: float, lost_s: Sequence[float]) -> float:
    """A bound: twice what S3 takes for so many images, what faults may cost, and 20 s for a busy machine."""
    return 2 * images * seconds_an_image + sum(lost_s) + 20
