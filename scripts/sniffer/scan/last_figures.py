"""The last figures of a scan, once its certificate is stored; of shards, the one that ends last certifies the whole."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime

from sniffer.adapters.mysql.database import Database
from sniffer.core.errors import ContractError, HeldScan, IncompleteScan
from sniffer.core.metrics import CERTIFICATES, NEXT_DUE, Metrics
from sniffer.core.records import Certificate
from sniffer.core.settings import database_settings
from sniffer.core.shard_records import ShardChoice
from sniffer.scan.certified_shards import certify_shards

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LastFigures:
    """Counts the certificate of a scan, or of its shard `choice`, and says by when the next scan of `dag_run` is due.

    `next_due` is None where no schedule asked for it.
    """

    metrics: Metrics
    choice: ShardChoice | None
    dag_run: str | None
    next_due: datetime | None

    def show(self, certificate: Certificate) -> None:
        """Show what has become of the scan; after it no figure changes any more."""
        try:
            if self.choice is None:
                self._count(certificate, "scan")
            else:
                self._count(certificate, "shard")
                self._certify_whole(self.choice)
        finally:
            self.metrics.conclude()

    def show_complete(self, choice: ShardChoice) -> None:
        """The same for a shard that was complete before, since what ended it last was killed too early to go on."""
        if self._certify_whole(choice):
            self.metrics.conclude()

    def _certify_whole(self, choice: ShardChoice) -> bool:
        """Certify the whole if no shard of it is left; of two that end at once, the one stored last does it.

        Whether the sum holds is no matter of this shard's: whoever asks for the whole is told. Each shard that ends
        while the whole is held counts that.
        """
        with Database(database_settings()) as database:
            try:
                whole = certify_shards(database, choice.scan_id)
            except IncompleteScan as left:
                log.info("%s", left)
                return False
            except HeldScan as held:
                log.warning("%s", held)
                self.metrics.add(CERTIFICATES, result="held", of="all_shards")
                return False
            except ContractError as misfit:
                log.warning("all shards of %s are complete, and cannot be certified: %s", choice.scan_id, misfit)
                self.metrics.add(CERTIFICATES, result="broken", of="all_shards")
                return True
        level = logging.INFO if whole.holds else logging.WARNING
        log.log(level, "all shards of %s are complete: %s", choice.scan_id, "; ".join(whole.objections) or "certified")
        self._count(whole, "all_shards")
        return True

    def _count(self, certificate: Certificate, of: str) -> None:
        result = "holds" if certificate.holds else "held" if certificate.is_held else "broken"
        self.metrics.add(CERTIFICATES, result=result, of=of)
        if certificate.holds and of != "shard" and self.next_due is not None and self.dag_run:
            self.metrics.set(NEXT_DUE, self.next_due.timestamp(), dag=self.dag_run.partition("/")[0])
