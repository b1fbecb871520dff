"""Prometheus of the local stack, where Debian's package is installed: asks the scans of this stack while they run.

A scan has a port of its own, and says which in a file of the folder `targets` (SNIFFER_METRICS_TARGETS).
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from sniffer.core.files import write_text
from sniffer_local.layout import CHECKOUT
from sniffer_local.processes import Service, answers_http

RULES = CHECKOUT / "k8s" / "components" / "monitoring" / "rules.yaml"
SCRAPE_S = 2
"""Scans of the demo last seconds."""
LINGER_S = 10
KEPT = "30d"


@dataclass(frozen=True, slots=True)
class PrometheusSite:
    """Its folder and port; `program` is the server."""

    program: str
    folder: Path
    port: int

    @property
    def targets(self) -> Path:
        """Where running scans say who they are."""
        return self.folder / "targets"

    def scan_environ(self) -> Mapping[str, str]:
        """What makes scans give their figures to it."""
        return {
            "SNIFFER_METRICS_PORT": "0",
            "SNIFFER_METRICS_TARGETS": str(self.targets),
            "SNIFFER_METRICS_LINGER_S": str(LINGER_S),
        }


def installed() -> str | None:
    """The server's path; None where it is not installed."""
    return shutil.which("prometheus")


def prepare_site(program: str, folder: Path, port: int) -> PrometheusSite:
    """Write its configuration, with the alerts of the cluster. Idempotent."""
    site = PrometheusSite(program, folder, port)
    site.targets.mkdir(parents=True, exist_ok=True)
    itself = f"127.0.0.1:{port}"
    config = {
        "global": {"scrape_interval": f"{SCRAPE_S}s", "evaluation_interval": "15s"},
        "rule_files": [str(folder / "rules.yaml")],
        "scrape_configs": [
            {"job_name": "sniffer", "file_sd_configs": [{"files": [f"{site.targets}/*.json"]}]},
            {"job_name": "prometheus", "scrape_interval": "15s", "static_configs": [{"targets": [itself]}]},
        ],
    }
    write_text(folder / "rules.yaml", yaml.safe_dump(yaml.safe_load(RULES.read_text("utf-8"))["spec"]))
    write_text(folder / "prometheus.yaml", yaml.safe_dump(config))
    return site


def state_service(site: PrometheusSite, port: int, database_url: str, log: Path) -> Service:
    """`sniffer state-metrics`, which Prometheus finds as it finds scans. It waits for a database that is away."""
    return Service(
        "state-metrics",
        (sys.executable, "-m", "sniffer.scan.state_metrics", f"--metrics-port={port}"),
        log,
        lambda: answers_http(port, "/metrics"),
        environ={"SNIFFER_DATABASE_URL": database_url, "SNIFFER_METRICS_TARGETS": str(site.targets)},
        code=(CHECKOUT / "scripts" / "sniffer",),
        address=f"http://127.0.0.1:{port}/metrics",
    )


def prometheus_service(site: PrometheusSite, log: Path) -> Service:
    """The server, on the loopback only; what it has asked is kept for a month."""
    command = (
        site.program,
        f"--config.file={site.folder / 'prometheus.yaml'}",
        f"--storage.tsdb.path={site.folder / 'data'}",
        f"--storage.tsdb.retention.time={KEPT}",
        f"--web.listen-address=127.0.0.1:{site.port}",
        "--log.level=warn",
    )
    files = b"".join((site.folder / name).read_bytes() for name in ("prometheus.yaml", "rules.yaml"))
    return Service(
        "prometheus",
        command,
        log,
        lambda: answers_http(site.port, "/-/ready"),
        # It reads its files once: with others it is another service.
        environ={"PROMETHEUS_FILES": hashlib.sha256(files).hexdigest()},
        address=f"http://127.0.0.1:{site.port}",
    )
