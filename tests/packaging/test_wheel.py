"""The wheel holds all of our code and its data, and works from where it is installed: without the checkout."""

from __future__ import annotations

import configparser
import os
import subprocess
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from sqlalchemy import create_engine, text

PACKAGES = {
    "sniffer": "scripts",
    "sniffer_model": "model",
    "sniffer_serve": "model",
    "sniffer_rollout": "model",
    "sniffer_airflow": "plugins",
    "sniffer_local": "local",
}


@pytest.fixture(scope="session")
def unpacked(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's files, as site-packages would have them."""
    folder = tmp_path_factory.mktemp("site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def run(unpacked: Path, code: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run code for which the wheel's files come before the checkout's."""
    return subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(unpacked)!r})\n{code}"],
        cwd=unpacked,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_holds_every_file_of_our_packages_and_nothing_else(repository: Path, unpacked: Path) -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=repository, capture_output=True, text=True, check=True
    )
    ours = {
        path.partition("/")[2]
        for path in tracked.stdout.splitlines()
        if any(path.startswith(f"{folder}/{package}/") for package, folder in PACKAGES.items())
    }
    held = {str(file.relative_to(unpacked)) for file in unpacked.rglob("*") if file.is_file()}
    manifests = {path for path in held if path.startswith("sniffer_airflow/executors/k8s/")}
    info = {path for path in held if ".dist-info/" in path}
    assert held - manifests - info == ours | {"sniffer_plugin.py"}
    assert {Path(path).name for path in info} == {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "LICENSE"}


def test_the_version_is_said_in_one_place(repository: Path, wheel: Path) -> None:
    assert wheel.name.startswith(f"sniffer_bot-{version('sniffer-bot')}-py3-none-any")


def test_airflow_finds_the_plugin_by_its_entry_point(unpacked: Path) -> None:
    entry_points = configparser.ConfigParser()
    entry_points.read(next(unpacked.glob("*.dist-info")) / "entry_points.txt")
    assert dict(entry_points["airflow.plugins"]) == {"sniffer": "sniffer_plugin:SnifferPlugin"}


POD_TEMPLATES = """
from sniffer_airflow.executors import templates
print("FOLDER", templates.manifests())
print("IMAGE", templates.pod_template("sniffer_model")["spec"]["containers"][0]["image"])
"""


def test_pod_templates_are_those_of_the_wheel(repository: Path, unpacked: Path, tmp_path: Path) -> None:
    done = run(unpacked, POD_TEMPLATES, AIRFLOW_HOME=str(tmp_path))
    folder = unpacked / "sniffer_airflow" / "executors" / "k8s"
    listed = yaml.safe_load((folder / "components" / "images" / "kustomization.yaml").read_text())["images"]
    (tag,) = [each["newTag"] for each in listed if each["name"] == "sniffer-bot/trainer"]
    assert f"FOLDER {folder}\nIMAGE sniffer-bot/trainer:{tag}\n" in done.stdout, done.stderr
    for file in folder.rglob("*.yaml"):
        assert file.read_text() == (repository / "k8s" / file.relative_to(folder)).read_text()


MIGRATE = """
import sys
from sniffer.adapters.mysql import database
from sniffer.core.settings import DatabaseSettings
print(database.__file__)
with database.Database(DatabaseSettings(sys.argv[1])) as opened:
    opened.migrate()
"""


def test_the_wheel_brings_its_migrations(unpacked: Path, database_url: str) -> None:
    done = run(unpacked, f"import sys; sys.argv[1:] = [{database_url!r}]\n{MIGRATE}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(unpacked))
    engine = create_engine(database_url)
    with engine.connect() as connection:
        versions = connection.execute(text("SELECT version_num FROM alembic_version")).scalars().all()
    engine.dispose()
    newest = max((unpacked / "sniffer" / "adapters" / "mysql" / "migrations" / "versions").glob("*.py"))
    assert versions == [newest.stem.partition("_")[0]]
