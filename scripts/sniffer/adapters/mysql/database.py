"""MySQL as the programs see it: one connection, and a repository for each kind of row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Self

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from sniffer.adapters.mysql.errors import NO_SUCH_TABLE, error_number
from sniffer.adapters.mysql.grants import grant_statements, grants_script
from sniffer.adapters.mysql.schema import SCHEMA_VERSION
from sniffer.adapters.mysql.transactions import MIGRATION_TIMEOUT_S, Transactions
from sniffer.core.errors import SettingsError
from sniffer.core.retry import not_counted
from sniffer.core.settings import DatabaseSettings

if TYPE_CHECKING:
    from sniffer.adapters.mysql.estimates import EstimateRepository
    from sniffer.adapters.mysql.holds import HoldRepository
    from sniffer.adapters.mysql.images import ImageRepository
    from sniffer.adapters.mysql.models import ModelRegistry
    from sniffer.adapters.mysql.overview import OverviewRepository
    from sniffer.adapters.mysql.retention import RetentionRepository
    from sniffer.adapters.mysql.review.accounts import ReviewAccounts
    from sniffer.adapters.mysql.review.audit_log import AuditLog
    from sniffer.adapters.mysql.review.decisions import ReviewDecisions
    from sniffer.adapters.mysql.review.drift_results import DriftRepository
    from sniffer.adapters.mysql.review.duplicates import NearDuplicates
    from sniffer.adapters.mysql.review.kept import KeptImages
    from sniffer.adapters.mysql.review.leases import ReviewLeases
    from sniffer.adapters.mysql.review.looks import ReviewLooks
    from sniffer.adapters.mysql.review.queue import ReviewQueue
    from sniffer.adapters.mysql.review.recall_figures import RecallRepository
    from sniffer.adapters.mysql.review.samples import ReviewSamples
    from sniffer.adapters.mysql.review.sessions import ReviewSessions
    from sniffer.adapters.mysql.review.shown import ReviewImages
    from sniffer.adapters.mysql.scans import ScanRepository
    from sniffer.adapters.mysql.shards import ShardRepository
    from sniffer.adapters.mysql.state import StateRepository


@dataclass(frozen=True, slots=True)
class DatabaseFacts:
    """A database: its URL without the password, and by how many seconds its clock is ahead of ours."""

    place: str
    server_version: str
    schema_version: str | None
    clock_offset_s: float


class Database:
    """The images, the scans and the models of one database, over one connection. Not shared between threads."""

    def __init__(self, settings: DatabaseSettings, *, on_retry: Callable[[], None] = not_counted) -> None:
        self._settings = settings
        self._transactions = Transactions(settings, on_retry=on_retry)

    # A program loads only the repositories that it uses: a consumer starts a tenth sooner.

    @cached_property
    def images(self) -> ImageRepository:
        from sniffer.adapters.mysql.images import ImageRepository

        return ImageRepository(self._transactions)

    @cached_property
    def scans(self) -> ScanRepository:
        from sniffer.adapters.mysql.scans import ScanRepository

        return ScanRepository(self._transactions)

    @cached_property
    def shards(self) -> ShardRepository:
        from sniffer.adapters.mysql.shards import ShardRepository

        return ShardRepository(self._transactions)

    @cached_property
    def estimates(self) -> EstimateRepository:
        from sniffer.adapters.mysql.estimates import EstimateRepository

        return EstimateRepository(self._transactions)

    @cached_property
    def models(self) -> ModelRegistry:
        from sniffer.adapters.mysql.models import ModelRegistry

        return ModelRegistry(self._transactions)

    @cached_property
    def holds(self) -> HoldRepository:
        from sniffer.adapters.mysql.holds import HoldRepository

        return HoldRepository(self._transactions)

    @cached_property
    def retention(self) -> RetentionRepository:
        from sniffer.adapters.mysql.retention import RetentionRepository

        return RetentionRepository(self._transactions)

    @cached_property
    def state(self) -> StateRepository:
        from sniffer.adapters.mysql.state import StateRepository

        return StateRepository(self._transactions)

    @cached_property
    def overview(self) -> OverviewRepository:
        from sniffer.adapters.mysql.overview import OverviewRepository

        return OverviewRepository(self._transactions)

    @cached_property
    def review_queue(self) -> ReviewQueue:
        from sniffer.adapters.mysql.review.queue import ReviewQueue

        return ReviewQueue(self._transactions)

    @cached_property
    def review_leases(self) -> ReviewLeases:
        from sniffer.adapters.mysql.review.leases import ReviewLeases

        return ReviewLeases(self._transactions)

    @cached_property
    def review_decisions(self) -> ReviewDecisions:
        from sniffer.adapters.mysql.review.decisions import ReviewDecisions

        return ReviewDecisions(self._transactions)

    @cached_property
    def review_samples(self) -> ReviewSamples:
        from sniffer.adapters.mysql.review.samples import ReviewSamples

        return ReviewSamples(self._transactions)

    @cached_property
    def recall(self) -> RecallRepository:
        from sniffer.adapters.mysql.review.recall_figures import RecallRepository

        return RecallRepository(self._transactions)

    @cached_property
    def drift(self) -> DriftRepository:
        from sniffer.adapters.mysql.review.drift_results import DriftRepository

        return DriftRepository(self._transactions)

    @cached_property
    def near_duplicates(self) -> NearDuplicates:
        from sniffer.adapters.mysql.review.duplicates import NearDuplicates

        return NearDuplicates(self._transactions)

    @cached_property
    def kept_images(self) -> KeptImages:
        from sniffer.adapters.mysql.review.kept import KeptImages

        return KeptImages(self._transactions)

    @cached_property
    def review_accounts(self) -> ReviewAccounts:
        from sniffer.adapters.mysql.review.accounts import ReviewAccounts

        return ReviewAccounts(self._transactions)

    @cached_property
    def review_sessions(self) -> ReviewSessions:
        from sniffer.adapters.mysql.review.sessions import ReviewSessions

        return ReviewSessions(self._transactions)

    @cached_property
    def review_looks(self) -> ReviewLooks:
        from sniffer.adapters.mysql.review.looks import ReviewLooks

        return ReviewLooks(self._transactions)

    @cached_property
    def review_images(self) -> ReviewImages:
        from sniffer.adapters.mysql.review.shown import ReviewImages

        return ReviewImages(self._transactions)

    @cached_property
    def review_log(self) -> AuditLog:
        from sniffer.adapters.mysql.review.audit_log import AuditLog

        return AuditLog(self._transactions)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the connection back; it can be used again afterwards."""
        self._transactions.close()

    def check(self) -> None:
        """Fail at once, in one line, when the database cannot be used: SettingsError or TransientError."""
        found = self._transactions.transact(_schema_version, patience_s=0.0)
        if found != SCHEMA_VERSION:
            raise SettingsError(
                f"the database {self._transactions.place} is at schema {found or 'none'}, this program "
                f"needs {SCHEMA_VERSION}: run `sniffer migrate`"
            )

    def facts(self) -> DatabaseFacts:
        """What server it is, its schema and its clock; check()'s errors, and no schema where there is none."""

        def ask(connection: Connection) -> DatabaseFacts:
            version, now = connection.execute(text("SELECT VERSION(), UTC_TIMESTAMP(6)")).one()
            offset_s = (now.replace(tzinfo=UTC) - datetime.now(UTC)).total_seconds()
            return DatabaseFacts(self._transactions.place, version, _schema_version(connection), offset_s)

        return self._transactions.transact(ask, patience_s=0.0)

    def migrate(self, revision: str = "head") -> None:
        """Bring the tables to that revision. Idempotent, also after an interruption, and alone: others wait.

        Raises check()'s errors, TransientError also when another process migrates for longer than our patience.
        """
        # Alembic takes a moment to import, and only this needs it.
        from sniffer.adapters.mysql.upgrade import upgrade

        # This connection tells at once whether the server is there; the one that migrates may wait hours for an answer.
        self._transactions.transact(_schema_version, patience_s=0.0)
        patience_s = self._settings.patience_s
        migration = Transactions(self._settings, answer_limit_s=MIGRATION_TIMEOUT_S)
        try:
            migration.transact(lambda connection: upgrade(connection, revision, lock_patience_s=patience_s))
        finally:
            migration.close()

    def grants_script(self) -> str:
        """The SQL that makes a role for each program in a database that is migrated, for this kind of server."""
        return self._transactions.transact(grants_script)

    def make_roles(self) -> None:
        """Make these roles. Idempotent; SettingsError when our user may not."""

        def make(connection: Connection) -> None:
            for statement in grant_statements(connection):
                connection.exec_driver_sql(statement.replace("%", "%%"))

        self._transactions.transact(make)


def _schema_version(connection: Connection) -> str | None:
    try:
        return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    except DBAPIError as error:
        if error_number(error) == NO_SUCH_TABLE:
            return None
        raise
