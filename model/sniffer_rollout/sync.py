"""`sniffer rollout sync`: beside each model server, keeps its disk and config at the desired serving state.

In: the aspired file (a mounted ConfigMap) and the model base. Out: MODELS_DIR/<version>/, each complete and intact, and
a config file that names a version only when its files are there, and have the digest that the aspired file gives, which
is that of the table `models`. Failures are logged and retried: without the stable version the previous config stays,
any other version is left out meanwhile. Init container (`--once`) and side-car are the same program.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sniffer.core.errors import ContractError, SettingsError, SnifferError, TransientError
from sniffer.core.parser import Parser, seconds
from sniffer.core.program import Program
from sniffer.core.retry import BackOff
from sniffer.core.variables import S3_ENVIRONMENT
from sniffer_model.release.model_base import check_registered, open_model_base
from sniffer_model.release.publish import digest_directory, published_versions, read_facts, sync_path, sync_tree
from sniffer_rollout.aspired import STABLE, Aspired, read_aspired

log = logging.getLogger(__name__)

POLL_S = 5.0
GRACE_S = 600.0
_LAST_PAUSE_S = 60.0
_STAGING_PREFIX = ".fetch-"
_LEAVING_PREFIX = ".leaving-"


@dataclass(frozen=True, slots=True)
class SyncSettings:
    """What to keep in step. `served_base` is MODELS_DIR as the model server sees it; durations in seconds."""

    model_base: str
    models_dir: Path
    aspired: Path
    config: Path
    served_base: Path
    poll_s: float = POLL_S
    grace_s: float = GRACE_S


class Sync:
    """Keeps disk and config in step with the aspired file."""

    def __init__(self, settings: SyncSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._proven: dict[int, str | None] = {}
        """Versions on the disk that were hashed, and the digest that they were found to have in the aspired state."""
        self._unwanted_since: dict[int, float] = {}
        self._failed: Aspired | None = None
        self._problem = ""
        self._back_off = BackOff(settings.poll_s, max(settings.poll_s, _LAST_PAUSE_S))
        self._retry_at = 0.0
        self._swept = False

    def step(self) -> str:
        """Bring the disk, then the config, to what the aspired file says. Run again, it does only what is left.

        A version without the label `stable` that cannot be had is left out, so that it keeps no server from serving
        the others: returns what is the matter with such ones, "" when all is there. Raises SettingsError, ContractError
        or TransientError when the stable one cannot be had, or nothing that is to follow what is served, or anything
        else is the matter; the previous config stays.
        """
        aspired = self._read()
        self._sweep()
        essential, left_out = aspired.labels.get(STABLE), dict[int, SnifferError]()
        for version in sorted(aspired.versions, key=lambda version: version != essential):
            try:
                self._provide(version, aspired.digests.get(version))
            except SnifferError as error:
                if version == essential:
                    raise
                left_out[version] = error
        served = aspired.without(left_out)
        if left_out and not served.versions and self._serves_something():
            raise next(iter(left_out.values()))
        self._write_config(served)
        self._remove_unwanted(aspired)
        return "; ".join(f"version {version} is left out: {problem}" for version, problem in left_out.items())

    def run(self) -> None:
        """Step forever. A failure is logged once, and retried with back-off, at once when the aspired file changes."""
        while True:
            if self._is_due():
                self._attempt()
            time.sleep(self._settings.poll_s)

    def _is_due(self) -> bool:
        try:
            return self._clock() >= self._retry_at or self._read() != self._failed
        except SnifferError:
            return False

    def _attempt(self) -> None:
        try:
            problem = self.step()
        except SnifferError as error:
            problem = f"the previous config stays: {error}"
        if problem:
            if problem != self._problem:
                log.error("%s", problem)
            self._failed, self._retry_at = self._aspired_or_none(), self._clock() + self._back_off.next_s()
        else:
            if self._problem:
                log.info("in step again")
            self._failed = None
            self._back_off.reset()
        self._problem = problem

    def _aspired_or_none(self) -> Aspired | None:
        try:
            return self._read()
        except SnifferError:
            return None

    def _read(self) -> Aspired:
        settings = self._settings
        # To serve nothing is written as such; a ConfigMap that was deleted must not unload what serves.
        if not settings.aspired.exists() and self._serves_something():
            raise TransientError(f"{settings.aspired} is gone: run `sniffer rollout restore`")
        return read_aspired(settings.aspired)

    def _serves_something(self) -> bool:
        return _text(self._settings.config) not in ("", Aspired().server_config(Path("/")))

    def _sweep(self) -> None:
        """Remove, once, what a killed run left half fetched or half removed: only one of us works in the folder."""
        if not self._swept and self._settings.models_dir.is_dir():
            for prefix in (_STAGING_PREFIX, _LEAVING_PREFIX):
                for left in self._settings.models_dir.glob(f"{prefix}*"):
                    shutil.rmtree(left, ignore_errors=True)
        self._swept = True

    def _provide(self, version: int, digest: str | None) -> None:
        """Make sure that the version's directory is there and is the one of that digest; each is hashed once.

        None, of an older release: it is compared with the facts beside it, which whoever swaps it can swap as well.
        """
        directory = self._settings.models_dir / str(version)
        if version in self._proven and self._proven[version] == digest and directory.is_dir():
            return
        try:
            if directory.is_dir() and (problem := _problem(version, directory, digest)):
                log.error("%s: it is taken away and fetched again", problem)
                self._remove(version)
            if not directory.is_dir():
                self._fetch(version, directory, digest)
        except OSError as error:
            raise TransientError(f"cannot bring version {version} to {directory}: {error}") from error
        if digest is None:
            log.warning(
                "%s has no digest of version %d, so it was compared with the facts beside it alone: `sniffer rollout "
                "restore` writes the digests of `models` there",
                self._settings.aspired,
                version,
            )
        self._proven[version] = digest

    def _fetch(self, version: int, directory: Path, digest: str | None) -> None:
        started_at = self._clock()
        staging = self._settings.models_dir / f"{_STAGING_PREFIX}{version}"
        # Left by an interruption: one file too many would make every later digest wrong.
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        try:
            fetched = open_model_base(self._settings.model_base).fetch(version, staging, digest)
            if fetched.parent != staging:
                fetched = Path(shutil.copytree(fetched, staging / str(version)))
                if problem := _problem(version, fetched, digest):
                    raise ContractError(f"damaged on its way to {staging}: {problem}")
            sync_tree(fetched)
            os.rename(fetched, directory)
            sync_path(directory.parent)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        log.info("fetched version %d in %.1f s", version, self._clock() - started_at)

    def _write_config(self, aspired: Aspired) -> None:
        config, text = self._settings.config, aspired.server_config(self._settings.served_base)
        if _text(config) == text:
            return
        part = config.with_name(f".{config.name}.part")
        try:
            config.parent.mkdir(parents=True, exist_ok=True)
            part.write_text(text, encoding="utf-8")
            sync_path(part)
            os.replace(part, config)
        except OSError as error:
            raise TransientError(f"cannot write {config}: {error}") from error
        log.info("%s now asks for %s", config, aspired.json())

    def _remove_unwanted(self, aspired: Aspired) -> None:
        """Remove versions that the config has not named for `grace_s`: the server may be reading them until then."""
        now = self._clock()
        unwanted = set(published_versions(self._settings.models_dir)) - set(aspired.versions)
        self._unwanted_since = {version: self._unwanted_since.get(version, now) for version in unwanted}
        for version, since in sorted(self._unwanted_since.items()):
            if now - since >= self._settings.grace_s:
                try:
                    self._remove(version)
                except OSError as error:
                    raise TransientError(f"cannot remove version {version}: {error}") from error
                log.info("removed version %d, which is no longer needed", version)

    def _remove(self, version: int) -> None:
        # Renamed first: a model server must not see a directory that loses its files one by one.
        leaving = self._settings.models_dir / f"{_LEAVING_PREFIX}{version}"
        shutil.rmtree(leaving, ignore_errors=True)
        os.rename(self._settings.models_dir / str(version), leaving)
        shutil.rmtree(leaving, ignore_errors=True)
        self._proven.pop(version, None)


def _problem(version: int, directory: Path, digest: str | None) -> str:
    """Why the directory is not that version; "" when it is. Without a digest its own facts say what it must be."""
    try:
        found = digest_directory(directory)
        check_registered(version, found, digest, directory)
        facts = read_facts(directory)
        if found != facts.digest:
            return f"{directory} is damaged: its digest is {found}, not {facts.digest}"
    except (SettingsError, ContractError) as error:
        return str(error)
    return ""


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"cannot read {path}: {error}") from error


def _add_arguments(parser: Parser) -> None:
    parser.add_argument(
        "--model-base-path", required=True, metavar="DIR|s3://BUCKET/PREFIX", help="where versions are published"
    )
    parser.add_argument(
        "--models-dir", required=True, type=Path, metavar="DIR", help="where this model server's versions are kept"
    )
    parser.add_argument(
        "--aspired",
        required=True,
        type=Path,
        metavar="FILE",
        help="aspired.json, what is to be served; missing: nothing was rolled out yet",
    )
    parser.add_argument(
        "--config", required=True, type=Path, metavar="FILE", help="the model server's --model_config_file"
    )
    parser.add_argument(
        "--served-base-path", type=Path, metavar="DIR", help="--models-dir as the model server sees it, if different"
    )
    parser.add_argument(
        "--once",
        action="store_true",
        help="bring everything up to date and end: an init container; done when the stable version is there",
    )
    parser.add_argument("--poll-s", type=seconds, default=POLL_S, metavar="SECONDS", help="how often to look")
    parser.add_argument(
        "--grace-s",
        type=seconds,
        default=GRACE_S,
        metavar="SECONDS",
        help="how long a version that nothing asks for any more is kept",
    )


def _run(arguments: argparse.Namespace) -> int:
    sync = Sync(
        SyncSettings(
            arguments.model_base_path,
            arguments.models_dir,
            arguments.aspired,
            arguments.config,
            arguments.served_base_path or arguments.models_dir,
            arguments.poll_s,
            arguments.grace_s,
        )
    )
    if arguments.once:
        if problem := sync.step():
            log.error("%s", problem)
    else:
        # At once, even during a download: the next start removes what is left of it.
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
        sync.run()
    return 0


PROGRAM = Program(
    command="sniffer rollout sync",
    summary="Beside one model server: fetch the versions that a rollout asks for from the model base path to "
    "--models-dir, and let the server's config name each of them as soon as its files are there. What fails is logged "
    "and retried; the previous config stays. Runs until SIGTERM, or once.",
    run=_run,
    add_arguments=_add_arguments,
    examples=(
        "sniffer rollout sync --model-base-path s3://models/drug_detector --models-dir /models \\",
        "  --aspired /aspired/aspired.json --config /config/models.config",
    ),
    environment=(
        *S3_ENVIRONMENT,
        "SNIFFER_LOG_FORMAT",
    ),
)

main = PROGRAM.main

if __name__ == "__main__":
    sys.exit(main())
