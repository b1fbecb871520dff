"""Settings from the environment and flags: read here and nowhere else, validated, passed down as frozen dataclasses."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from sniffer.core import variables as var
from sniffer.core.errors import SettingsError
from sniffer.core.redaction import KNOWN, SecretUrl, without_password
from sniffer.core.setting import Setting

SETTINGS: tuple[Setting[Any], ...] = var.SETTINGS
"""Every variable that the programs read."""

MIB = var.MIB
METRICS_PORT_MAX = var.MAX_PORT


@dataclass(frozen=True, slots=True, init=False)
class DatabaseSettings:
    """Where results go. `patience_s` bounds how long a lost connection is retried before we give up."""

    url: SecretUrl
    patience_s: float

    def __init__(self, url: str | SecretUrl, patience_s: float = var.DATABASE_PATIENCE_S.default) -> None:
        object.__setattr__(self, "url", SecretUrl(url))
        object.__setattr__(self, "patience_s", patience_s)


@dataclass(frozen=True, slots=True, init=False)
class ServingSettings:
    """Where the model is served: `http://host:8501/v1/models/NAME`, without a version."""

    url: SecretUrl
    patience_s: float
    connect_timeout_s: float
    read_timeout_s: float

    def __init__(
        self,
        url: str | SecretUrl,
        patience_s: float = var.SERVING_PATIENCE_S.default,
        connect_timeout_s: float = var.SERVING_CONNECT_TIMEOUT_S.default,
        read_timeout_s: float = var.SERVING_READ_TIMEOUT_S.default,
    ) -> None:
        object.__setattr__(self, "url", SecretUrl(url))
        object.__setattr__(self, "patience_s", patience_s)
        object.__setattr__(self, "connect_timeout_s", connect_timeout_s)
        object.__setattr__(self, "read_timeout_s", read_timeout_s)


@dataclass(frozen=True, slots=True)
class ImageSettings:
    """What an image may cost. Larger ones end as `unreadable`, with the limit named."""

    max_bytes: int = var.MAX_IMAGE_BYTES.default
    max_pixels: int = var.MAX_IMAGE_PIXELS.default
    decode_cpu_s: float = var.DECODE_CPU_S.default
    decode_memory_bytes: int = var.DECODE_MEMORY_BYTES.default


@dataclass(frozen=True, slots=True)
class FetchSettings:
    """How S3 is read: so many objects at once, and how long an S3 that fails is retried before giving up."""

    threads: int = var.FETCH_THREADS.default
    patience_s: float = var.FETCH_PATIENCE_S.default
    requester_pays: bool = var.REQUESTER_PAYS.default


@dataclass(frozen=True, slots=True)
class Budgets:
    """Shares of what was listed that may end so. Above a budget no certificate holds; above a warning it warns."""

    failed: float = var.ERROR_BUDGET.default
    gone: float = var.GONE_BUDGET.default
    gone_warning: float = var.GONE_WARNING.default
    unreadable: float = var.UNREADABLE_BUDGET.default
    unreadable_warning: float = var.UNREADABLE_WARNING.default


@dataclass(frozen=True, slots=True)
class FleetSettings:
    """The rhythm of producer and consumers; durations in seconds."""

    batch_size: int = var.BATCH_SIZE.default
    beat_s: float = var.BEAT_S.default
    consumer_deadline_s: float = var.CONSUMER_DEADLINE_S.default
    producer_deadline_s: float = var.PRODUCER_DEADLINE_S.default
    no_consumer_s: float = var.NO_CONSUMER_S.default
    no_progress_s: float = var.NO_PROGRESS_S.default
    work_limit_s: float = var.WORK_LIMIT_S.default
    max_restarts: int = var.MAX_RESTARTS.default
    budgets: Budgets = Budgets()
    fetch_threads: int = var.FETCH_THREADS.default
    fetch_patience_s: float = var.FETCH_PATIENCE_S.default
    lease_s: float = var.LEASE_S.default
    held_bytes: int = var.HELD_BYTES.default
    """Encoded bytes that one consumer may hold, and that the producer keeps ready to send."""
    max_image_bytes: int = var.MAX_IMAGE_BYTES.default
    """The largest image that is sent, the same for producer and consumers."""


@dataclass(frozen=True, slots=True)
class RolloutSettings:
    """Where versions are rolled out, and how long is waited for what.

    `target` is `kubernetes:NAMESPACE/DEPLOYMENT` or `local:DIR`; `replicas` are base URLs `http://host:port` of a local
    target's model servers. `load_limit_s` bounds the wait until every replica serves a version, `label_limit_s` until
    every one knows a label; for `stale_s` a replica may still show the failure of an earlier try. `problem_s` is how
    long pods may lack a node, fail to pull their image or crash: a GPU node takes ten minutes to come.
    """

    target: str
    model_base: str
    replicas: tuple[SecretUrl, ...] = ()
    patience_s: float = var.ROLLOUT_PATIENCE_S.default
    load_limit_s: float = var.ROLLOUT_LOAD_LIMIT_S.default
    label_limit_s: float = var.ROLLOUT_LABEL_LIMIT_S.default
    stale_s: float = var.ROLLOUT_STALE_S.default
    problem_s: float = var.ROLLOUT_PROBLEM_S.default
    poll_s: float = var.ROLLOUT_POLL_S.default
    kubeconfig: str | None = None


@dataclass(frozen=True, slots=True)
class AirflowSettings:
    """Airflow's address `http://host:port`, and who asks it."""

    url: str
    user: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class MetricsSettings:
    """Where the metrics are served; port 0 is any free one. At its end a scan waits so long for a last reader.

    `targets` is the folder of files that tell Prometheus of this address.
    """

    port: int
    host: str = var.METRICS_HOST.default
    linger_s: float = var.METRICS_LINGER_S.default
    targets: Path | None = None


@dataclass(frozen=True, slots=True)
class ShardSettings:
    """How large shards are: about so many keys by plan, and at most so many images and seconds to one scan of them."""

    keys: int = var.SHARD_KEYS.default
    images: int = var.SHARD_IMAGES.default
    seconds: float = var.SHARD_S.default


@dataclass(frozen=True, slots=True)
class CurveKeys:
    """CURVE keys for a fleet over a network, as Z85 text: our own pair, and the producer's public key."""

    public: str
    secret: str = field(repr=False)
    server: str


def _split_url(name: str, url: str, example: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port  # refused as late as this when it is no number
    except ValueError:
        # The error's own text is left out: it may show a part of a password that was not percent-encoded.
        raise SettingsError(
            f"{name} is not a URL: {without_password(url)!r}; it looks like {example}, with user and password "
            "percent-encoded"
        ) from None
    return parts


def database_settings(environ: Mapping[str, str] = os.environ) -> DatabaseSettings:
    """Read SNIFFER_DATABASE_URL; raises SettingsError when it is missing or not MySQL."""
    url = var.DATABASE_URL.required(environ).strip()
    if not url.startswith(("mysql+mysqldb://", "mariadb+mysqldb://")):
        raise SettingsError(f"SNIFFER_DATABASE_URL must start with mysql+mysqldb://, not {without_password(url)!r}")
    return DatabaseSettings(url, var.DATABASE_PATIENCE_S.read(environ))


def serving_settings(environ: Mapping[str, str] = os.environ) -> ServingSettings:
    """Read SNIFFER_SERVING_URL; raises SettingsError when it is missing or not a model's URL."""
    url = var.SERVING_URL.required(environ).rstrip("/")
    parts = _split_url(var.SERVING_URL.name, url, var.SERVING_URL.example)
    if parts.scheme not in ("http", "https") or not re.fullmatch(r"(/.*)?/v1/models/[^/:]+", parts.path):
        raise SettingsError(
            f"SNIFFER_SERVING_URL must look like {var.SERVING_URL.example}, not {without_password(url)!r}"
        )
    return ServingSettings(
        url,
        var.SERVING_PATIENCE_S.read(environ),
        var.SERVING_CONNECT_TIMEOUT_S.read(environ),
        var.SERVING_READ_TIMEOUT_S.read(environ),
    )


def image_settings(environ: Mapping[str, str] = os.environ) -> ImageSettings:
    """Read the limits on one image."""
    return ImageSettings(
        var.MAX_IMAGE_BYTES.read(environ),
        var.MAX_IMAGE_PIXELS.read(environ),
        var.DECODE_CPU_S.read(environ),
        var.DECODE_MEMORY_BYTES.read(environ),
    )


def fetch_settings(environ: Mapping[str, str] = os.environ) -> FetchSettings:
    """Read how S3 is read."""
    return FetchSettings(
        var.FETCH_THREADS.read(environ), var.FETCH_PATIENCE_S.read(environ), var.REQUESTER_PAYS.read(environ)
    )


def fleet_settings(environ: Mapping[str, str] = os.environ) -> FleetSettings:
    """Read the fleet's rhythm; raises SettingsError when a deadline is shorter than the beats that keep it."""
    fleet = FleetSettings(
        batch_size=var.BATCH_SIZE.read(environ),
        beat_s=var.BEAT_S.read(environ),
        consumer_deadline_s=var.CONSUMER_DEADLINE_S.read(environ),
        producer_deadline_s=var.PRODUCER_DEADLINE_S.read(environ),
        no_consumer_s=var.NO_CONSUMER_S.read(environ),
        no_progress_s=var.NO_PROGRESS_S.read(environ),
        work_limit_s=var.WORK_LIMIT_S.read(environ),
        max_restarts=var.MAX_RESTARTS.read(environ),
        budgets=Budgets(
            failed=var.ERROR_BUDGET.read(environ),
            gone=var.GONE_BUDGET.read(environ),
            gone_warning=var.GONE_WARNING.read(environ),
            unreadable=var.UNREADABLE_BUDGET.read(environ),
            unreadable_warning=var.UNREADABLE_WARNING.read(environ),
        ),
        fetch_threads=var.FETCH_THREADS.read(environ),
        fetch_patience_s=var.FETCH_PATIENCE_S.read(environ),
        lease_s=var.LEASE_S.read(environ),
        held_bytes=var.HELD_BYTES.read(environ),
        max_image_bytes=var.MAX_IMAGE_BYTES.read(environ),
    )
    for name, deadline_s in (
        (var.CONSUMER_DEADLINE_S.name, fleet.consumer_deadline_s),
        (var.PRODUCER_DEADLINE_S.name, fleet.producer_deadline_s),
    ):
        if deadline_s < 2 * fleet.beat_s:
            raise SettingsError(f"{name} ({deadline_s} s) must be at least twice SNIFFER_BEAT_S ({fleet.beat_s} s)")
    return fleet


def rollout_settings(
    environ: Mapping[str, str] = os.environ,
    *,
    target: str | None = None,
    model_base: str | None = None,
    needs_files: bool = True,
) -> RolloutSettings:
    """Read where and how to roll out; `target` and `model_base`, from flags, take precedence.

    In Kubernetes, where each model server fetches its own files, a step that needs none itself needs no model base.
    """
    chosen = target or var.ROLLOUT_TARGET.required(environ)
    may_lack_base = not needs_files and chosen.startswith("kubernetes:")
    of_environ = var.MODEL_BASE_PATH.read if may_lack_base else var.MODEL_BASE_PATH.required
    return RolloutSettings(
        target=chosen,
        model_base=model_base or of_environ(environ),
        replicas=_replicas(environ),
        patience_s=var.ROLLOUT_PATIENCE_S.read(environ),
        load_limit_s=var.ROLLOUT_LOAD_LIMIT_S.read(environ),
        label_limit_s=var.ROLLOUT_LABEL_LIMIT_S.read(environ),
        stale_s=var.ROLLOUT_STALE_S.read(environ),
        problem_s=var.ROLLOUT_PROBLEM_S.read(environ),
        poll_s=var.ROLLOUT_POLL_S.read(environ),
        kubeconfig=var.KUBECONFIG.read(environ) or None,
    )


def airflow_settings(environ: Mapping[str, str] = os.environ) -> AirflowSettings:
    """Read SNIFFER_AIRFLOW_URL; raises SettingsError when it is missing, or has no user."""
    url = var.AIRFLOW_URL.required(environ).rstrip("/")
    parts = _split_url(var.AIRFLOW_URL.name, url, var.AIRFLOW_URL.example)
    if parts.scheme not in ("http", "https") or not parts.hostname or not parts.username:
        raise SettingsError(f"SNIFFER_AIRFLOW_URL must look like {var.AIRFLOW_URL.example}")
    place = parts.netloc.rpartition("@")[2]
    return AirflowSettings(
        f"{parts.scheme}://{place}{parts.path}", unquote(parts.username), unquote(parts.password or "")
    )


def _replicas(environ: Mapping[str, str]) -> tuple[SecretUrl, ...]:
    """SNIFFER_SERVING_REPLICAS, else the server of SNIFFER_SERVING_URL, else none."""
    listed = environ.get("SNIFFER_SERVING_REPLICAS", "").strip()
    if not listed:
        if not environ.get("SNIFFER_SERVING_URL", "").strip():
            return ()
        return (SecretUrl(serving_settings(environ).url.reveal().rpartition("/v1/models/")[0]),)
    urls = tuple(url.strip().rstrip("/") for url in listed.split(",") if url.strip())
    for url in urls:
        parts = _split_url(var.SERVING_REPLICAS.name, url, "http://host:8501,http://other:8501")
        if parts.scheme not in ("http", "https") or not parts.netloc or "/v1" in parts.path:
            raise SettingsError(
                f"SNIFFER_SERVING_REPLICAS must be like http://host:8501,http://other:8501, not "
                f"{without_password(url)!r}"
            )
    return tuple(map(SecretUrl, urls))


def default_consumers(environ: Mapping[str, str] = os.environ) -> int:
    """Read SNIFFER_CONSUMERS: how many consumers a scan has unless its flag says so. In a pod, cores are the node's.

    Slightly more than cores: one waits for the model server while another decodes.
    """
    return var.CONSUMERS.read(environ) or len(os.sched_getaffinity(0)) + 1


def metrics_settings(
    port: int | None = None, host: str | None = None, environ: Mapping[str, str] = os.environ
) -> MetricsSettings | None:
    """Read where metrics are served; `port` and `host`, from flags, take precedence. None: nowhere."""
    chosen = var.METRICS_PORT.read(environ) if port is None else port
    if chosen is None:
        return None
    targets = var.METRICS_TARGETS.read(environ)
    return MetricsSettings(
        chosen,
        host or var.METRICS_HOST.read(environ),
        var.METRICS_LINGER_S.read(environ),
        Path(targets) if targets else None,
    )


def wants_traces(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether spans are sent. SettingsError for another way to export them than OTLP."""
    exporter = var.TRACES_EXPORTER.read(environ).lower()
    if exporter not in ("", "none", "otlp"):
        raise SettingsError(f"{var.TRACES_EXPORTER.name} must be otlp or none, not {exporter!r}")
    return exporter == "otlp"


def shard_settings(environ: Mapping[str, str] = os.environ) -> ShardSettings:
    """Read how large shards are."""
    return ShardSettings(var.SHARD_KEYS.read(environ), var.SHARD_IMAGES.read(environ), var.SHARD_S.read(environ))


def curve_keys(environ: Mapping[str, str] = os.environ) -> CurveKeys | None:
    """Read the CURVE keys from the files that SNIFFER_CURVE_{PUBLIC,SECRET,SERVER}_FILE name; None when unset."""
    names = [f"SNIFFER_CURVE_{part}_FILE" for part in ("PUBLIC", "SECRET", "SERVER")]
    given = [name for name in names if environ.get(name)]
    if not given:
        return None
    if len(given) < len(names):
        missing = ", ".join(sorted(set(names) - set(given)))
        raise SettingsError(f"CURVE needs all three key files; {missing} is not set")
    keys = CurveKeys(*(_key_file(name, environ[name]) for name in names))
    KNOWN.learn(keys.secret)
    return keys


def curve_clients(environ: Mapping[str, str] = os.environ) -> frozenset[str]:
    """Public keys that may connect to the producer: a line each in the file of SNIFFER_CURVE_CLIENTS_FILE."""
    path = environ.get("SNIFFER_CURVE_CLIENTS_FILE", "")
    return frozenset(_key_lines("SNIFFER_CURVE_CLIENTS_FILE", path)) if path else frozenset()


def parse_utc(text: str) -> datetime:
    """An ISO 8601 date or time as aware UTC; without an offset it is taken as UTC. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


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
