"""What must be true, after every step and of every certificate: compared with what the simulated systems hold."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator

from simulation.database import MemoryDatabase, Row
from simulation.network import NO_NAME
from simulation.plan import FaultKind, Plan
from simulation.strangers import LIAR
from simulation.systems import BROKEN, LETHAL, POISON, MemoryBucket, true_score
from sniffer.core.records import SETTLED, Certificate, FencingToken, ListedObject, ListingDigest, Outcome, Result
from sniffer.scan.ledger import Ledger
from sniffer.scan.listing import ListingTally
from sniffer.scan.messages import Done, FromConsumer, FromProducer, Heartbeat, ScanFinished, Work

_UNSETTLED = frozenset({Outcome.FAILED, Outcome.GONE, Outcome.INACCESSIBLE})
_HURTS_CONSUMERS = frozenset(
    {
        FaultKind.KILL_CONSUMER,
        FaultKind.STOP_CONSUMER,
        FaultKind.STOP_PRODUCER,
        FaultKind.CUT,
        FaultKind.CUT_UNNOTICED,
        FaultKind.CUT_LINGERING,
        FaultKind.SERVING_AWAY,
        FaultKind.SLOW_NETWORK,
    }
)
_FREEZES = frozenset({FaultKind.STOP_CONSUMER, FaultKind.STOP_PRODUCER, FaultKind.SERVING_AWAY})

_KEEP_FROM_RENEWING = frozenset(
    {FaultKind.STOP_PRODUCER, FaultKind.DATABASE_AWAY, FaultKind.SECOND_RUN, FaultKind.KILL_PRODUCER}
)

DEATHS_IN_COMPANY, DEATHS_ALONE = 2, 5
"""How many consumers one image may end, as the documents promise; not asked of the code that is on trial."""

_TURN_S = 0.5
"""The producer's loop turns more often than that."""


class Violation(Exception):
    """Something is not as it must be."""


class Truth:
    """Watches one history."""

    def __init__(
        self, plan: Plan, bucket: MemoryBucket, database: MemoryDatabase, scan_id: str, consumer_deadline_s: float
    ) -> None:
        self._plan = plan
        self._consumer_deadline_s = consumer_deadline_s
        self._bucket = bucket
        self._database = database
        self._scan_id = scan_id
        self.touched: set[str] = set()
        self.killed_by: Counter[bytes] = Counter()
        self._runs = -1  # before any run, which begins as a run does
        self._kinds = {fault.kind for fault in plan.faults}
        self.begin_run()

    def begin_run(self) -> None:
        """The scan runs, perhaps again."""
        self._runs += 1
        self._accounted = 0
        self._heard: dict[bytes, float] = {}
        self._says_goodbye = False
        self._listed: dict[bytes, ListedObject] = {}
        self._is_listed = False
        self._handed: set[bytes] = set()
        self._session = ""
        self._acknowledged: set[int] = set()
        self._scored: set[int] = set()
        self._owned = self._database.owned.copy()
        self._upgrades = self._database.upgrades
        self._settled_before = {
            identity for identity, row in self._database.rows.items() if row.result.outcome in SETTLED
        }

    def watched(self, pages: Iterable[list[ListedObject]]) -> Iterator[list[ListedObject]]:
        """The pages, noted as what the listing has shown."""
        for page in pages:
            self._listed |= {image.identity: image for image in page}
            yield page
        self._is_listed = True

    def result_of(self, image: ListedObject, body: bytes, score: float) -> Result:
        """What an earlier scan stored of that object."""
        content = hashlib.sha256(body).digest()
        if body.startswith(BROKEN):
            return Result(image, Outcome.UNREADABLE, None, content, "no_image", "not an image")
        if body.startswith(POISON):
            return Result(image, Outcome.UNREADABLE, None, content, "decoder_crashed", "poison")
        if body.startswith(LETHAL):
            return Result(image, Outcome.FAILED, None, None, "kills_consumers", "lethal")
        return Result(image, Outcome.PREDICTED, score, content)

    # ---- after every step -----------------------------------------------------------------------------------

    def check_ledger(self, ledger: Ledger, tally: ListingTally, consumers: Iterable[bytes]) -> None:
        """Nothing lost, nothing doubled, nothing acknowledged that is not committed, nobody blamed without a cause."""
        self._check_living_lease()
        self._check_silence(ledger)
        if not self._kinds & _HURTS_CONSUMERS - {FaultKind.STOP_PRODUCER, FaultKind.SERVING_AWAY}:
            buried = [name for name in consumers if ledger.knows(name) and name not in ledger.alive]
            _must(not buried, f"{buried} are taken for dead, but live")
        if not self._kinds & (_HURTS_CONSUMERS - _FREEZES) and not any(b.startswith(LETHAL) for b in self._plan.bodies):
            _must(not ledger.suspects, f"{len(ledger.suspects)} images are suspected, though no consumer died")
        accounted = ledger.done + ledger.in_flight
        _must(accounted >= self._accounted, f"an image is lost: {self._accounted} were accounted for, now {accounted}")
        new = tally.listed - tally.decided
        _must(accounted <= new, f"an image is doubled: {new} are to be scored, {accounted} are accounted for")
        self._accounted = accounted
        most = self._plan.held_bytes + self._bucket.largest_bytes
        _must(ledger.on_hand_bytes <= most, f"{ledger.on_hand_bytes} bytes are kept ready, {most} is the most")
        for outcome, count in ledger.counts.items():
            _must(count >= 0, f"{count} images count as {outcome}")
            if outcome in SETTLED and FaultKind.LOST not in self._kinds:
                stored = self._database.owned[self._scan_id, outcome] - self._owned[self._scan_id, outcome]
                _must(count <= stored, f"{count} images count as {outcome}, but {stored} rows are committed")

    def _check_living_lease(self) -> None:
        number = self._database.scan_numbers.get(self._scan_id)
        if number in self._database.leases and not self._kinds & _KEEP_FROM_RENEWING:
            _, until = self._database.leases[number]
            late_s = self._database.clockwork.now - until
            _must(late_s <= 0, f"the producer is alive, but its lease ended {late_s:.1f} s ago")

    def _check_silence(self, ledger: Ledger) -> None:
        if self._says_goodbye or FaultKind.STOP_PRODUCER in self._kinds:
            return  # nobody is waited for any more, or was listened to meanwhile
        for name in ledger.alive:
            silent_s = self._database.clockwork.now - self._heard[name]
            most_s = self._consumer_deadline_s + _TURN_S
            _must(silent_s <= most_s, f"{name!r} has said nothing for {silent_s:.1f} s, and is taken for alive")

    def check_lease(self, number: int, holder: str) -> None:
        """Nobody takes over what another holds."""
        before, until = self._database.leases.get(number, (holder, 0.0))
        left_s = until - self._database.clockwork.now
        _must(before == holder or left_s <= 0, f"{holder} takes over from {before}, which has {left_s:.1f} s left")

    def check_token(self, token: FencingToken, newest: int) -> None:
        """Only the newest run writes."""
        _must(token.run_number == newest, f"run {token.run_number} writes, but run {newest} is the newest")

    def check_received(self, name: bytes, message: FromConsumer) -> None:
        """No consumer holds more than it asked for."""
        self._heard[name] = self._database.clockwork.now
        if name.startswith(LIAR):
            return
        # What comes over a connection that was replaced has no known name, and is ignored.
        if isinstance(message, Done) and message.session == self._session and not name.startswith(NO_NAME):
            self._acknowledged |= {number for number, _ in message.outcomes}
            self._scored |= {number for number, outcome in message.outcomes if outcome not in _UNSETTLED}
        if isinstance(message, Heartbeat) and FaultKind.DUPLICATES not in self._kinds:
            most = 2 * self._plan.batch_size
            _must(len(message.holds) <= most, f"{name!r} holds {len(message.holds)} images, {most} is the most")

    def check_sent(self, name: bytes, message: FromProducer) -> None:
        """Nothing is handed out that had a settled row when the scan began, or was acknowledged, or for no reason."""
        self._says_goodbye = self._says_goodbye or isinstance(message, ScanFinished)
        if isinstance(message, Work):
            self._session = message.session
            identity = message.image.identity
            given = message.verdict is not None and message.verdict.code != "kills_consumers"
            _must(not (given and message.image.key in self._bucket.given), f"{message.image.key} was fetched after all")
            _must(message.number not in self._acknowledged, f"{message.image.key} is handed out after it was done")
            self._handed.add(identity)
            scored = identity in self._settled_before and not self._plan.rescan
            _must(not scored, f"{message.image.key} was settled before, and is handed out")
            _must(identity in self._listed, f"{message.image.key} is handed out, but was not listed")

    def check_write(self, before: tuple[Outcome, str], after: tuple[Outcome, str]) -> None:
        """A settled row stands; a rescan replaces each once."""
        (was, owner), (becomes, writer) = before, after
        if was in SETTLED:
            may = self._plan.rescan and owner != self._scan_id
            _must(may, f"{writer} overwrites a settled row of {owner}: {was} becomes {becomes}")

    # ---- certificates ---------------------------------------------------------------------------------------

    def check_certificate(self, certificate: Certificate, ledger: Ledger, *, complete: bool) -> None:
        """A certificate that holds is true, and one that is true and within the budget holds."""
        self._check_rows()
        if not complete:
            return
        scored = sum(count for outcome, count in ledger.counts.items() if outcome not in _UNSETTLED)
        _must(scored >= len(self._scored), f"{len(self._scored)} were acknowledged as scored, {scored} count so")
        _must(sum(certificate.outcomes.values()) == certificate.listed, "the counts do not add up")
        if certificate.limited:
            _must(self._plan.limit == len(self._handed), f"limit {self._plan.limit}, {len(self._handed)} handed out")
        else:
            _must(self._is_listed, "certified before the listing had ended")
            self._check_listing(certificate)
            self._check_counts(certificate)
        failed = certificate.outcomes[Outcome.FAILED]
        within = failed <= self._plan.error_budget * certificate.listed
        refused = certificate.outcomes[Outcome.INACCESSIBLE]
        gives = not refused or refused < certificate.listed
        _must(
            certificate.holds == (within and gives),
            f"{failed} failed, budget {self._plan.error_budget}: {certificate.problems}",
        )
        if self._runs == 1 and not self._kinds & (_HURTS_CONSUMERS | {FaultKind.DUPLICATES}):
            self._check_deaths()
        if not self._plan.faults:
            _must(ledger.alive == [], "a consumer was not told of the end")

    def _check_deaths(self) -> None:
        for body, deaths in self.killed_by.items():
            each = DEATHS_ALONE if len(self._plan.bodies) == 1 else DEATHS_IN_COMPANY + DEATHS_ALONE
            most = each * self._plan.bodies.count(body)
            _must(deaths <= most, f"{body.decode()} killed {deaths} consumers")

    def _check_listing(self, certificate: Certificate) -> None:
        listed = len(self._listed)
        _must(certificate.listed == listed, f"certified {certificate.listed} as listed, S3 showed {listed}")
        digest = ListingDigest()
        digest.add(self._listed)
        _must(certificate.listing_digest == digest.hex(), "the digest is not that of the listing")
        stable = {f"k{number:02}" for number in range(len(self._plan.bodies))} - self.touched
        if not self._plan.retry_failed:
            missing = stable - {image.key for image in self._listed.values()}
            _must(not missing, f"{sorted(missing)} were there all the time, and not listed")

    def _check_counts(self, certificate: Certificate) -> None:
        found: Counter[Outcome] = Counter(self._outcome_of(image) for image in self._listed.values())
        # A consumer that was taken for dead may have scored since what was given up meanwhile.
        upgrades = self._database.upgrades - self._upgrades
        for outcome in (*sorted(SETTLED), Outcome.UNCHANGED):
            more = found[outcome] - certificate.outcomes[outcome]
            text = f"certified {certificate.outcomes[outcome]} as {outcome}, MySQL holds {found[outcome]}"
            _must(0 <= more <= upgrades, text)

    def _outcome_of(self, image: ListedObject) -> Outcome:
        row = self._database.rows.get(image.identity)
        if row is None:
            raise Violation(f"{image.key} is certified, but has no row")
        if image.identity in self._handed:
            renewed = row.scan_id == self._scan_id or not self._plan.rescan
            _must(renewed, f"{image.key} was scored again, but keeps the row of {row.scan_id}")
            if row.scan_id == self._scan_id:
                return row.result.outcome
            # A failure of another scan at the same time may replace one of ours.
            if row.result.outcome in SETTLED:
                return Outcome.UNCHANGED
            other = FaultKind.OTHER_SCAN in self._kinds
            _must(other, f"{image.key} was handed out, but keeps the failure of {row.scan_id}")
            return row.result.outcome
        if row.result.outcome is Outcome.INACCESSIBLE and not self._plan.rescan:
            return row.result.outcome
        _must(row.result.outcome in SETTLED, f"{image.key} counts as unchanged, but its row says {row.result.outcome}")
        _must(not self._plan.rescan or row.scan_id == self._scan_id, f"{image.key} was left out of the rescan")
        return Outcome.UNCHANGED

    def _check_rows(self) -> None:
        for row in self._database.rows.values():
            if row.scan_id == self._scan_id:
                self._check_row(row)

    def _check_row(self, row: Row) -> None:
        image, result = row.result.image, row.result
        body = next(b for b in self._bucket.versions[image.key] if hashlib.md5(b).hexdigest() == image.etag)
        readable = not body.startswith((BROKEN, POISON, LETHAL))
        where = f"{image.key} ({body.decode()}) is {result.outcome}"
        match result.outcome:
            case Outcome.PREDICTED | Outcome.REUSED:
                _must(readable and result.score == true_score(body), f"{where} with score {result.score}")
                _must(result.content_hash == hashlib.sha256(body).digest(), f"{where} with another's content hash")
            case Outcome.UNREADABLE:
                kind = {"no_image": BROKEN, "decoder_crashed": POISON}.get(result.error_code or "")
                _must(kind is not None and body.startswith(kind), f"{where} ({result.error_code})")
            case Outcome.GONE:
                _must(image.key in self.touched, where)
            case Outcome.FAILED | Outcome.INACCESSIBLE:
                self._check_failure(row, body, where)
            case _:
                raise Violation(where)

    def _check_failure(self, row: Row, body: bytes, where: str) -> None:
        code = row.result.error_code
        reasons = {
            "fetch": FaultKind.S3_AWAY in self._kinds,
            "access_denied": row.result.image.key in self._bucket.denied or FaultKind.DENY_ALL in self._kinds,
            "kills_consumers": body.startswith(LETHAL),
        }
        _must(reasons.get(code or "", False), f"{where} ({code}) without a reason")


def _must(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Violation(otherwise)
