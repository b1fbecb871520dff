"""Each extra, installed from the package index into a fresh environment: the newest and the oldest versions."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from support.environments import Environment, oldest, run_uv

from sniffer_local.lock import PYTHON

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

FLEET = ("sniffer.scan", "sniffer.scan.produce", "sniffer.scan.consume", "sniffer.scan.migrate", "sniffer_rollout")
TRAINER = (
    "sniffer_model.data.count_labels",
    "sniffer_model.data.snapshot",
    "sniffer_model.training.train",
    "sniffer_model.evaluation.evaluate",
    "sniffer_model.gate",
    "sniffer_model.export.export",
    "sniffer_serve.server",
)
REVIEW = (
    "sniffer.review.web.serve",
    "sniffer.review.account",
    "sniffer.review.verify_log",
    "sniffer.review.export_queue",
    "sniffer.review.import_decisions",
)
LOCAL = ("sniffer_local.demo", "sniffer_local.bench", "sniffer_local.samples", "sniffer_local.lock")
MODULES = {"fleet": FLEET, "trainer": TRAINER, "review": REVIEW, "airflow": (), "dev": FLEET + TRAINER + REVIEW + LOCAL}
"""The programs that an extra brings all packages for, as `python -m` takes them."""
COMMANDS = {
    "fleet": ("scan", "produce", "migrate"),
    "trainer": ("model train", "serve"),
    "review": ("review serve", "review account"),
    "airflow": (),
    "dev": ("scan",),
}

TESTED_WITH = {"fleet": ("otel",), "airflow": ("images",)}
"""What the tests of an extra need of others: traces, and a boto3 that goes with moto's."""
TOOLS = (
    "httpx",  # the test client of older releases of starlette
    "hypothesis",
    "moto[s3,server]",
    "opentelemetry-proto",
    "psutil",
    "pyarrow",
    "pytest",
    "pytest-timeout",
    "pytest-xdist",
    "scikit-learn",
)
"""What the tests need besides."""

DAG_FILES = """
import sys
from airflow.dag_processing.dagbag import DagBag
from airflow.plugins_manager import get_import_errors, get_plugin_info

bag = DagBag(sys.argv[1])
assert not bag.import_errors, bag.import_errors
assert not get_import_errors(), get_import_errors()
assert [each["name"] for each in get_plugin_info()].count("sniffer") == 1
print(sorted(bag.dags))
"""
ALL_DAGS = (
    "['backfill_bucket', 'export_model', 'measure_recall', 'publish_labels', 'retrain_model', 'rollout_serving', "
    "'scan_bucket', 'scan_summary', 'watch_labels']"
)


def check_programs(environment: Environment, extra: str) -> None:
    """Every program of the extra says how it is used."""
    assert environment.run("sniffer", "--version") == f"sniffer {environment.version('sniffer-bot')}\n"
    for module in MODULES[extra]:
        assert "usage: " in environment.run("python", "-m", module, "--help"), module
    for command in COMMANDS[extra]:
        assert f"usage: sniffer {command}" in environment.run("sniffer", *command.split(), "--help"), command


def check_dags(environment: Environment, repository: Path) -> None:
    """Airflow reads our DAGs and our plugin, for programs as processes and as pods."""
    for place in ("processes", "pods"):
        found = environment.run("python", "-c", DAG_FILES, str(repository / "dags"), SNIFFER_RUN_IN=place)
        assert found.splitlines()[-1] == ALL_DAGS


@pytest.mark.parametrize("extra", MODULES)
def test_programs_run_from_the_wheel_with_the_newest_packages(extra: str, wheel: Path, tmp_path: Path) -> None:
    environment = Environment.create(tmp_path)
    environment.install(f"{wheel}[{extra}]")
    check_programs(environment, extra)


def test_pip_installs_the_checkout(repository: Path, tmp_path: Path) -> None:
    environment = Environment.create(tmp_path)
    environment.install("pip")
    environment.run("pip", "install", "--quiet", f"{repository}[fleet]")
    check_programs(environment, "fleet")


def test_airflow_reads_dags_and_plugin_with_the_newest_packages(repository: Path, wheel: Path, tmp_path: Path) -> None:
    environment = Environment.create(tmp_path)
    environment.install(f"{wheel}[airflow]")
    check_dags(environment, repository)


@pytest.fixture(scope="module")
def oldest_environment(
    request: pytest.FixtureRequest, repository: Path, wheel: Path, tmp_path_factory: pytest.TempPathFactory
) -> Environment:
    """The oldest versions that an extra allows, and what the tests need to run with them."""
    folder = tmp_path_factory.mktemp(request.param)
    environment = Environment.create(folder)
    file = oldest(repository, (request.param, *TESTED_WITH.get(request.param, ())), folder / "oldest.txt")
    environment.install("--requirements", str(file))
    environment.install("--no-deps", str(wheel))
    environment.install("--constraints", str(file), *TOOLS)
    return environment


@pytest.mark.parametrize(
    ("oldest_environment", "tests"),
    [
        ("fleet", ("tests/scripts/adapters", "tests/scripts/scan")),
        ("trainer", ("tests/model/data", "tests/model/export", "tests/serve")),
        ("review", ("tests/scripts/review/test_webhook.py", "tests/scripts/review/test_strangers.py")),
        ("airflow", ("tests/dags",)),
    ],
    indirect=["oldest_environment"],
)
def test_our_tests_pass_with_the_oldest_packages(
    oldest_environment: Environment, tests: tuple[str, ...], repository: Path
) -> None:
    # The whole has the limit of this test; the model that the trainer's tests share is trained on a busy machine, too.
    limits = ("-o", "timeout=900", "-o", "faulthandler_timeout=930")
    command = ("-m", "pytest", "-q", "-m", "not slow", *limits, *tests)
    oldest_environment.run("python", *command, folder=repository)


@pytest.mark.parametrize("oldest_environment", ["airflow"], indirect=True)
def test_the_oldest_airflow_reads_dags_and_plugin(oldest_environment: Environment, repository: Path) -> None:
    assert oldest_environment.version("apache-airflow") == "3.3.0"
    check_dags(oldest_environment, repository)


def resolved(file: Path, *arguments: str) -> set[str]:
    """What the index has for these requirements, as lines `name==version`; a conflict is a failure."""
    command = ("pip", "compile", "--quiet", "--no-annotate", "--no-header", "--python-version", PYTHON, "--output-file")
    run_uv(*command, str(file), *arguments)
    return set(file.read_text().splitlines())


@pytest.mark.parametrize(
    "providers", [(), ("amazon",), ("amazon", "cncf-kubernetes", "fab", "http", "mysql", "smtp", "standard")]
)
def test_an_airflow_that_is_there_keeps_every_version(
    providers: tuple[str, ...], repository: Path, tmp_path: Path
) -> None:
    """`pip install .[airflow] --constraint ITS_OWN` fits beside it, and brings only what it lacks."""
    wanted = tmp_path / "wanted.in"
    wanted.write_text("\n".join(["apache-airflow==3.3.0", *(f"apache-airflow-providers-{name}" for name in providers)]))
    file = tmp_path / "there.txt"
    there = resolved(file, str(wanted))
    ours = (str(repository / "pyproject.toml"), "--extra", "airflow", "--constraints", str(file))
    added = resolved(tmp_path / "after.txt", *ours) - there
    versions = dict(line.split("==") for line in there)
    assert {line for line in added if line.partition("==")[0] in versions} == set()
    assert len(providers) < 2 or not added, added


@pytest.mark.parametrize("minor", [12, 13, 14])
def test_programs_run_on_a_newer_python(minor: int, wheel: Path, tmp_path: Path) -> None:
    python = shutil.which(f"python3.{minor}")
    if python is None or subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode:
        pytest.skip(f"Python 3.{minor} is not installed")
    environment = Environment.create(tmp_path, python)
    environment.install(f"{wheel}[fleet,trainer]")
    check_programs(environment, "fleet")
    check_programs(environment, "trainer")
