"""Settings from the environment and flags: read here and nowhere else, validated, passed down as frozen dataclasses."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar
from urllib.parse import urlsplit

from sniffer.core.errors import SettingsError

_T = TypeVar("_T")

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class DatabaseSettings:
    """Where results go. `patience_s` bounds how long a lost connection is retried before we give up."""

    url: str
    patience_s: float = 180.0

    def __repr__(self) -> str:
        return f"DatabaseSettings(url={without_password(self.url)!r}, patience_s={self.patience_s})"


@dataclass(frozen=True, slots=True)
class ServingSettings:
    """Where the model is served: `http://host:8501/v1/models/NAME`, without a version."""

    url: str
    patience_s: float = 180.0
    connect_timeout_s: float = 3.0
    read_timeout_s: float = 60.0


@dataclass(frozen=True, slots=True)
class ImageSettings:
    """What an image may cost. Larger ones end as `unreadable`, with the limit named."""

    max_bytes: int = 64 * MIB
    max_pixels: int = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class FetchSettings:
    """How S3 is read: so many objects at once, and how long an S3 that fails is retried before giving up."""

    threads: int = 8
    patience_s: float = 120.0


@dataclass(frozen=True, slots=True)
class FleetSettings:
    """The rhythm of producer and consumers; durations in seconds."""

    batch_size: int = 32
    beat_s: float = 2.0
    consumer_deadline_s: float = 20.0
    producer_deadline_s: float = 30.0
    no_consumer_s: float = 60.0
    no_progress_s: float = 600.0
    work_limit_s: float = 480.0
    max_restarts: int = 10
    error_budget: float = 0.01
    fetch_threads: int = 8
    fetch_patience_s: float = 120.0
    held_bytes: int = 32 * MIB
    """Encoded bytes that one consumer may hold, and that the producer keeps ready to send."""


@dataclass(frozen=True, slots=True)
class RolloutSettings:
    """Where versions are rolled out, and how long is waited for what.

    `target` is `kubernetes:NAMESPACE/DEPLOYMENT` or `local:DIR`; `replicas` are base URLs `http://host:port` of a local
    target's model servers. `load_limit_s` bounds the wait until every replica serves a version, `label_limit_s` until
    every one knows a label; for `stale_s` a replica may still show the failure of an earlier try. `trouble_s` is how
    long pods may lack a node, pull in vain or crash: a GPU node takes ten minutes to come.
    """

    target: str
    model_base: str
    replicas: tuple[str, ...] = ()
    patience_s: float = 120.0
    load_limit_s: float = 900.0
    label_limit_s: float = 180.0
    stale_s: float = 120.0
    trouble_s: float = 600.0
    poll_s: float = 1.0
    kubeconfig: str | None = None


@dataclass(frozen=True, slots=True)
class CurveKeys:
    """CURVE keys for a fleet over a network, as Z85 text: our own pair, and the producer's public key."""

    public: str
    secret: str
    server: str

    def __repr__(self) -> str:
        return f"CurveKeys(public={self.public!r}, server={self.server!r})"


def without_password(url: str) -> str:
    """The URL with its password replaced by `***`, for messages and logs."""
    return re.sub(r"(://[^:/@]*):.*@", r"\1:***@", url)


def database_settings(environ: Mapping[str, str] = os.environ) -> DatabaseSettings:
    """Read SNIFFER_DATABASE_URL; raises SettingsError when it is missing or not MySQL."""
    url = _required(environ, "SNIFFER_DATABASE_URL", "mysql+mysqldb://user:password@host/database")
    if not url.startswith(("mysql+mysqldb://", "mariadb+mysqldb://")):
        raise SettingsError(
            f"SNIFFER_DATABASE_URL must start with mysql+mysqldb://, not {without_password(url).split('//')[0]!r}"
        )
    return DatabaseSettings(url, _number(environ, "SNIFFER_DATABASE_PATIENCE_S", 180.0, minimum=0))


def serving_settings(environ: Mapping[str, str] = os.environ) -> ServingSettings:
    """Read SNIFFER_SERVING_URL; raises SettingsError when it is missing or not a model's URL."""
    url = _required(environ, "SNIFFER_SERVING_URL", "http://host:8501/v1/models/drug_detector").rstrip("/")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not re.fullmatch(r"(/.*)?/v1/models/[^/:]+", parts.path):
        raise SettingsError(
            f"SNIFFER_SERVING_URL must look like http://host:8501/v1/models/drug_detector, not "
            f"{without_password(url)!r}"
        )
    return ServingSettings(
        url,
        _number(environ, "SNIFFER_SERVING_PATIENCE_S", 180.0, minimum=0),
        _number(environ, "SNIFFER_SERVING_CONNECT_TIMEOUT_S", 3.0, minimum=0.1),
        _number(environ, "SNIFFER_SERVING_READ_TIMEOUT_S", 60.0, minimum=0.1),
    )


def image_settings(environ: Mapping[str, str] = os.environ) -> ImageSettings:
    """Read the limits on one image."""
    default = ImageSettings()
    return ImageSettings(
        _integer(environ, "SNIFFER_MAX_IMAGE_BYTES", default.max_bytes, minimum=1),
        _integer(environ, "SNIFFER_MAX_IMAGE_PIXELS", default.max_pixels, minimum=1),
    )


def fetch_settings(environ: Mapping[str, str] = os.environ) -> FetchSettings:
    """Read how S3 is read."""
    default = FetchSettings()
    return FetchSettings(
        _integer(environ, "SNIFFER_FETCH_THREADS", default.threads, minimum=1),
        _number(environ, "SNIFFER_FETCH_PATIENCE_S", default.patience_s, minimum=0),
    )


def fleet_settings(environ: Mapping[str, str] = os.environ) -> FleetSettings:
    """Read the fleet's rhythm; raises SettingsError when a deadline is shorter than the beats that keep it."""
    default = FleetSettings()
    fetch = fetch_settings(environ)
    fleet = FleetSettings(
        batch_size=_integer(environ, "SNIFFER_BATCH_SIZE", default.batch_size, minimum=1),
        beat_s=_number(environ, "SNIFFER_BEAT_S", default.beat_s, minimum=0.05),
        consumer_deadline_s=_number(environ, "SNIFFER_CONSUMER_DEADLINE_S", default.consumer_deadline_s, minimum=0.1),
        producer_deadline_s=_number(environ, "SNIFFER_PRODUCER_DEADLINE_S", default.producer_deadline_s, minimum=0.1),
        no_consumer_s=_number(environ, "SNIFFER_NO_CONSUMER_S", default.no_consumer_s, minimum=0.1),
        no_progress_s=_number(environ, "SNIFFER_NO_PROGRESS_S", default.no_progress_s, minimum=0.1),
        work_limit_s=_number(environ, "SNIFFER_WORK_LIMIT_S", default.work_limit_s, minimum=1),
        max_restarts=_integer(environ, "SNIFFER_MAX_RESTARTS", default.max_restarts, minimum=0),
        error_budget=_number(environ, "SNIFFER_ERROR_BUDGET", default.error_budget, minimum=0, maximum=1),
        fetch_threads=fetch.threads,
        fetch_patience_s=fetch.patience_s,
        held_bytes=_integer(environ, "SNIFFER_HELD_BYTES", default.held_bytes, minimum=1),
    )
    for name, deadline_s in (
        ("SNIFFER_CONSUMER_DEADLINE_S", fleet.consumer_deadline_s),
        ("SNIFFER_PRODUCER_DEADLINE_S", fleet.producer_deadline_s),
    ):
        if deadline_s < 2 * fleet.beat_s:
            raise SettingsError(f"{name} ({deadline_s} s) must be at least twice SNIFFER_BEAT_S ({fleet.beat_s} s)")
    return fleet


def rollout_settings(
    environ: Mapping[str, str] = os.environ, *, target: str | None = None, model_base: str | None = None
) -> RolloutSettings:
    """Read where and how to roll out; `target` and `model_base`, from flags, stand above the environment."""
    default = RolloutSettings("", "")
    return RolloutSettings(
        target=target or _required(environ, "SNIFFER_ROLLOUT_TARGET", "kubernetes:sniffer/tf-serving, or local:DIR"),
        model_base=model_base or _required(environ, "SNIFFER_MODEL_BASE_PATH", "s3://bucket/prefix, or a folder"),
        replicas=_replicas(environ),
        patience_s=_number(environ, "SNIFFER_ROLLOUT_PATIENCE_S", default.patience_s, minimum=0),
        load_limit_s=_number(environ, "SNIFFER_ROLLOUT_LOAD_LIMIT_S", default.load_limit_s, minimum=1),
        label_limit_s=_number(environ, "SNIFFER_ROLLOUT_LABEL_LIMIT_S", default.label_limit_s, minimum=1),
        stale_s=_number(environ, "SNIFFER_ROLLOUT_STALE_S", default.stale_s, minimum=0),
        trouble_s=_number(environ, "SNIFFER_ROLLOUT_TROUBLE_S", default.trouble_s, minimum=0),
        poll_s=_number(environ, "SNIFFER_ROLLOUT_POLL_S", default.poll_s, minimum=0.05),
        kubeconfig=environ.get("KUBECONFIG") or None,
    )


def _replicas(environ: Mapping[str, str]) -> tuple[str, ...]:
    """SNIFFER_SERVING_REPLICAS, else the server of SNIFFER_SERVING_URL, else none."""
    listed = environ.get("SNIFFER_SERVING_REPLICAS", "").strip()
    if not listed:
        if not environ.get("SNIFFER_SERVING_URL", "").strip():
            return ()
        return (serving_settings(environ).url.rpartition("/v1/models/")[0],)
    urls = tuple(url.strip().rstrip("/") for url in listed.split(",") if url.strip())
    for url in urls:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc or "/v1" in parts.path:
            raise SettingsError(
                f"SNIFFER_SERVING_REPLICAS must be like http://host:8501,http://other:8501, not {url!r}"
            )
    return urls


def default_consumers(environ: Mapping[str, str] = os.environ) -> int:
    """Read SNIFFER_CONSUMERS: how many consumers a scan has unless its flag says so. In a pod, cores are the node's.

    Slightly more than cores: one waits for the model server while another decodes.
    """
    return _integer(environ, "SNIFFER_CONSUMERS", len(os.sched_getaffinity(0)) + 1, minimum=1)


def curve_keys(environ: Mapping[str, str] = os.environ) -> CurveKeys | None:
    """Read the CURVE keys from the files that SNIFFER_CURVE_{PUBLIC,SECRET,SERVER}_FILE name; None when unset."""
    names = [f"SNIFFER_CURVE_{part}_FILE" for part in ("PUBLIC", "SECRET", "SERVER")]
    given = [name for name in names if environ.get(name)]
    if not given:
        return None
    if len(given) < len(names):
        missing = ", ".join(sorted(set(names) - set(given)))
        raise SettingsError(f"CURVE needs all three key files; {missing} is not set")
    return CurveKeys(*(_key_file(name, environ[name]) for name in names))


def curve_clients(environ: Mapping[str, str] = os.environ) -> frozenset[str]:
    """Public keys that may connect to the producer: a line each in the file of SNIFFER_CURVE_CLIENTS_FILE."""
    path = environ.get("SNIFFER_CURVE_CLIENTS_FILE", "")
    return frozenset(_key_lines("SNIFFER_CURVE_CLIENTS_FILE", path)) if path else frozenset()


def parse_utc(text: str) -> datetime:
    """An ISO 8601 date or time as aware UTC; without an offset it is taken as UTC. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _required(environ: Mapping[str, str], name: str, example: str) -> str:
    value = environ.get(name, "").strip()
    if not value:
        raise SettingsError(f"{name} is not set; it looks like {example}")
    return value


def _number(
    environ: Mapping[str, str], name: str, default: float, *, minimum: float, maximum: float | None = None
) -> float:
    return _parse(environ, name, default, float, minimum, maximum)


def _integer(environ: Mapping[str, str], name: str, default: int, *, minimum: int) -> int:
    return _parse(environ, name, default, int, minimum, None)


def _parse(
    environ: Mapping[str, str],
    name: str,
    default: _T,
    parse: Callable[[str], _T],
    minimum: float,
    maximum: float | None,
) -> _T:
    text = environ.get(name, "").strip()
    if not text:
        return default
    try:
        value = parse(text)
    except ValueError:
        raise SettingsError(f"{name} must be a number, not {text!r}") from None
    # A comparison with NaN is false, so NaN is refused here too.
    if not (minimum <= value and (maximum is None or value <= maximum)):  # type: ignore[operator]
        bounds = f"at least {minimum:g}" if maximum is None else f"from {minimum:g} to {maximum:g}"
        raise SettingsError(f"{name} must be {bounds}, not {text}")
    return value


def _key_file(name: str, path: str) -> str:
    keys = _key_lines(name, path)
    if len(keys) != 1:
        raise SettingsError(f"{name}: {path!r} must hold one key, not {len(keys)}")
    return keys[0]


def _key_lines(name: str, path: str) -> list[str]:
    try:
        with open(path, encoding="ascii") as file:
            keys = [line.strip() for line in file if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{name}: cannot read the key file {path!r}: {error}") from error
    if any(len(key) != 40 for key in keys):
        raise SettingsError(f"{name}: {path!r} holds a line that is not a 40-character Z85 key")
    return keys
