"""A real Prometheus, as `make demo` starts it, finds scans that last a second, and keeps their last figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import urlopen

import pytest
from support.fleet import Fleet, counted

from sniffer_local import prometheus
from sniffer_local.processes import Child, free_port


def test_a_short_scan_is_found_and_its_last_figures_are_kept(fleet: Fleet, tmp_path: Path) -> None:
    program = prometheus.installed()
    if program is None:
        pytest.skip("prometheus is not installed: it is Debian's package of that name")
    site = prometheus.prepare_site(program, tmp_path / "prometheus", free_port())
    server = Child(prometheus.prometheus_service(site, tmp_path / "prometheus.log"))

    def ask(path: str) -> Any:
        with urlopen(f"http://127.0.0.1:{site.port}/api/v1/{path}", timeout=30) as answer:
            return json.load(answer)["data"]

    fleet.fill(5)
    fleet.put("empty.jpg", b"")
    server.start()
    try:
        # It asks every two seconds, later on a busy machine; the scan ends as soon as it has.
        fleet.environ |= {**site.scan_environ(), "SNIFFER_METRICS_LINGER_S": "60"}
        certificate = fleet.scan()
        query = quote("sum by (outcome) (last_over_time(sniffer_images_total[1h])) > 0")
        found = {each["metric"]["outcome"]: float(each["value"][1]) for each in ask(f"query?query={query}")["result"]}
        names = {rule["name"] for group in ask("rules")["groups"] for rule in group["rules"]}
    finally:
        server.stop()
    assert found == counted(certificate) == {"predicted": 5, "unreadable": 1}
    assert "SnifferCertificateBroken" in names
    assert list(site.targets.iterdir()) == []
