"""First one-shot of docker-compose.yaml: random passwords and keys on the first start, folders with the right owner.

In: an empty volume for each consumer, this as root. Out: FOLDER/master/NAME, each secret once and for good; from these,
at each start, the files that each consumer reads, in its own volume, readable by its user alone. Prints no secret.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import re
import secrets
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from sniffer.core.errors import SettingsError, SnifferError
from sniffer.core.model_records import MODEL_NAME
from sniffer.core.redaction import SecretUrl
from sniffer_rollout.aspired import Aspired
from sniffer_rollout.targets.local import LocalTarget

OUR_USER = 10001
MYSQL_USER = 999
"""Of the image `mysql`."""

REGION = "us-east-1"
LOGIN = "admin"
GB = 1_000_000_000
MEMORY = Path("/proc/meminfo")

BY_TAG = "SNIFFER_IMAGES_BY_TAG"
_IMAGE_VARIABLE = re.compile(r"SNIFFER_\w+_IMAGE")
_DIGEST = re.compile(r"@sha256:[0-9a-f]{64}$")

MYSQL_NAMES = ("airflow", "sniffer")
"""Two databases, each with a user of that name that may use no other."""


class Master:
    """Keeps every secret that was ever made, in files that only root reads."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def secret(self, name: str) -> str:
        """The secret of that name: 256 random bits, URL-safe."""
        return self._kept(name, secrets.token_urlsafe(32))

    def fernet_key(self) -> str:
        """Airflow's key for stored connections: 32 bytes in Base64, padded."""
        return self._kept("fernet-key", base64.urlsafe_b64encode(os.urandom(32)).decode())

    def signing_key(self, name: str) -> str:
        """A key for HS512, which wants 64 bytes."""
        return self._kept(name, secrets.token_hex(64))

    def password(self, name: str) -> str:
        """A password that a person types."""
        return self._kept(name, secrets.token_urlsafe(12))

    def _kept(self, name: str, fresh: str) -> str:
        file = self._folder / name
        if not file.is_file():
            write_file(file, fresh, 0)
        return file.read_text()


def write_file(file: Path, text: str, user: int) -> None:
    """Replace the file as a whole, readable by that user alone."""
    part = file.with_name(f".{file.name}.part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400), "w") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    os.chown(part, user, user)
    part.replace(file)


def write_files(folder: Path, files: Mapping[str, str], user: int) -> None:
    """Make these the only files of the folder."""
    own_folder(folder, user)
    for name, text in files.items():
        write_file(folder / name, text, user)
    for file in folder.iterdir():
        if file.name not in files:
            file.unlink()


def own_folder(folder: Path, user: int) -> None:
    """Make the folder, and what is directly it, that user's alone."""
    folder.mkdir(parents=True, exist_ok=True)
    os.chown(folder, user, user)
    folder.chmod(0o700)


def mysql_files(master: Master) -> dict[str, str]:
    """For the image's entry point, which runs users.sql on a fresh data folder."""
    statements = []
    for name in MYSQL_NAMES:
        password = master.secret(f"mysql-{name}")
        statements += [
            f"CREATE DATABASE {name} CHARACTER SET utf8mb4;",
            f"CREATE USER '{name}'@'%' IDENTIFIED BY '{password}';",
            f"GRANT ALL PRIVILEGES ON {name}.* TO '{name}'@'%';",
        ]
    return {"root-password": master.secret("mysql-root"), "users.sql": "\n".join(statements) + "\n"}


def s3_files(master: Master) -> dict[str, str]:
    """SeaweedFS's identities: one, that may do everything."""
    identity = {
        "name": "sniffer",
        "credentials": [{"accessKey": master.secret("s3-access-key"), "secretKey": master.secret("s3-secret-key")}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    return {"identities.json": json.dumps({"identities": [identity]})}


def program_files(master: Master) -> dict[str, str]:
    """Variables of our programs that are secret; see docker/with-secrets."""
    return {
        "SNIFFER_DATABASE_URL": f"mysql+mysqldb://sniffer:{master.secret('mysql-sniffer')}@mysql:3306/sniffer",
        "AWS_ACCESS_KEY_ID": master.secret("s3-access-key"),
        "AWS_SECRET_ACCESS_KEY": master.secret("s3-secret-key"),
    }


def review_files(master: Master) -> dict[str, str]:
    """Variables of the review page that are secret: those of programs, and what its webhook's senders share with it."""
    return program_files(master) | {
        "SNIFFER_REVIEW_SECOND_SECRET": master.secret("review-second"),
        "SNIFFER_REVIEW_WEBHOOK_SECRET": master.secret("review-webhook"),
    }


def airflow_files(master: Master) -> dict[str, str]:
    """Variables of Airflow that are secret; see docker/with-secrets."""
    aws = {
        "conn_type": "aws",
        "login": master.secret("s3-access-key"),
        "password": master.secret("s3-secret-key"),
        "extra": {"region_name": REGION, "endpoint_url": "http://s3:8333"},
    }
    mysql = {
        "conn_type": "mysql",
        "host": "mysql",
        "port": 3306,
        "login": "sniffer",
        "password": master.secret("mysql-sniffer"),
        "schema": "sniffer",
    }
    metadata = f"mysql+mysqldb://airflow:{master.secret('mysql-airflow')}@mysql:3306/airflow?charset=utf8mb4"
    return {
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": metadata,
        "AIRFLOW__CORE__FERNET_KEY": master.fernet_key(),
        "AIRFLOW__API__SECRET_KEY": master.signing_key("airflow-secret-key"),
        "AIRFLOW__API_AUTH__JWT_SECRET": master.signing_key("airflow-jwt-secret"),
        "AIRFLOW_CONN_AWS_DEFAULT": json.dumps(aws),
        "AIRFLOW_CONN_MYSQL_DEFAULT": json.dumps(mysql),
    }


def check_machine(data_folder: Path, memory_gb: float, disk_gb: float) -> None:
    """Fail early, and in words, on a machine on which something would be killed half-way; 0 asks for nothing."""
    kilobytes = re.search(r"^MemTotal:\s+(\d+) kB$", MEMORY.read_text(), re.MULTILINE)
    memory = int(kilobytes[1]) * 1024 / GB if kilobytes else memory_gb
    if memory < memory_gb:
        raise SettingsError(
            f"this machine has {memory:.1f} GB of memory, and this needs {memory_gb:g}: add -f docker/small.yaml for a "
            "machine with 8 GB, or set SNIFFER_MEMORY_GB=0 to start all the same"
        )
    if not disk_gb or (data_folder / "airflow" / "passwords.json").exists():
        return  # what has started before is not kept from starting by what it has written
    free = shutil.disk_usage(data_folder).free / GB
    if free < disk_gb:
        raise SettingsError(
            f"the disk of Docker's volumes has {free:.1f} GB left, and a first start needs {disk_gb:g}: make room "
            "(docker system df), or set SNIFFER_DISK_GB=0 to start all the same"
        )


def check_images(environ: Mapping[str, str]) -> None:
    """Fail before anything else starts when an image of others is named by its tag, which can become another image."""
    if environ.get(BY_TAG) == "1":
        return
    for name, image in sorted(environ.items()):
        if _IMAGE_VARIABLE.fullmatch(name) and not _DIGEST.search(image):
            raise SettingsError(
                f"{name}={image} names no digest: run `python3 docker/pin_images.py --compose`, which writes it to "
                f".env, or set {BY_TAG}=1 there to take whatever the tag is; a variable of your shell goes before "
                "that file, so unset it (docs/docker.md, Images by digest)"
            )


def check_secrets(secrets_folder: Path, data_folder: Path) -> None:
    """Fail in words when the secrets are gone and the data are not: fresh ones would open none of them."""
    master = secrets_folder / "master"
    if (data_folder / "airflow" / "passwords.json").exists() and not (master.is_dir() and any(master.iterdir())):
        raise SettingsError(
            "the volume secrets-master is empty, and others hold data that only its passwords open: restore it from "
            "your backup (docs/docker.md), or forget all data, too, by `docker compose down --volumes`"
        )


def prepare(secrets_folder: Path, data_folder: Path) -> None:
    """Everything of the module's docstring; again, it changes no secret."""
    own_folder(secrets_folder / "master", 0)
    master = Master(secrets_folder / "master")
    write_files(secrets_folder / "mysql", mysql_files(master), MYSQL_USER)
    write_files(secrets_folder / "s3", s3_files(master), OUR_USER)
    write_files(secrets_folder / "programs", program_files(master), OUR_USER)
    write_files(secrets_folder / "review", review_files(master), OUR_USER)
    write_files(secrets_folder / "airflow", airflow_files(master), OUR_USER)
    for name in ("airflow", "training", "models", "serving", "s3"):
        own_folder(data_folder / name, OUR_USER)
    # Not among Airflow's secrets, which are read-only: its login manager opens the file for writing.
    passwords = data_folder / "airflow" / "passwords.json"
    write_file(passwords, json.dumps({LOGIN: master.password("airflow-admin")}), OUR_USER)
    passwords.chmod(0o600)
    prepare_serving(data_folder)


def prepare_serving(data_folder: Path) -> None:
    """Before the first rollout: an empty configuration, without which the model server would not start."""
    target = LocalTarget(
        data_folder / "serving", str(data_folder / "models" / MODEL_NAME), (SecretUrl("http://tf-serving:8501"),)
    )
    if not target.config.exists():
        target.apply(Aspired.of([]))
        for file in (data_folder / "serving").iterdir():
            os.chown(file, OUR_USER, OUR_USER)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program: 0 when all is there, 1 when the disk refuses, 2 for wrong usage or too small a machine."""
    parser = argparse.ArgumentParser(prog="prepare.py", description=__doc__)
    parser.add_argument("--secrets", type=Path, required=True, metavar="FOLDER", help="holds a volume per consumer")
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="holds the volumes of data")
    parser.add_argument("--memory-gb", type=float, default=0.0, help="refuse a machine with less")
    parser.add_argument("--disk-gb", type=float, default=0.0, help="refuse a first start with less room for data")
    flags = parser.parse_args(argv)
    try:
        check_images(os.environ)
        check_machine(flags.data, flags.memory_gb, flags.disk_gb)
        check_secrets(flags.secrets, flags.data)
        prepare(flags.secrets, flags.data)
    except OSError as error:
        print(f"prepare: {error}", file=sys.stderr)
        return 1
    except SnifferError as error:
        print(f"prepare: {error}", file=sys.stderr)
        return error.exit_status
    print("secrets and folders are there")
    return 0


if __name__ == "__main__":
    sys.exit(main())
