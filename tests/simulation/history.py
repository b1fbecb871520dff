"""One history: the real loops over a simulated world, watched after every step, and what was wrong with it."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from simulation.clockwork import Clockwork, Process, SimulatedThreads
from simulation.database import THRESHOLD, MemoryDatabase, Session
from simulation.flags import MemoryFlags, breaker_of
from simulation.network import ConsumerEnd, Network, ProducerEnd
from simulation.plan import FaultKind, Plan
from simulation.strikes import striker
from simulation.systems import LETHAL, MemoryBucket, MemoryDecoder, MemoryModelServer, true_score
from simulation.truth import Truth, Violation
from sniffer.core.errors import ContractError, ScanInUse, SettingsError, SnifferError
from sniffer.core.model_records import ModelRecord, ModelStatus
from sniffer.core.records import Certificate, ListedObject, Outcome, Result, ScanRequest, Unscored
from sniffer.core.settings import Budgets, FleetSettings
from sniffer.decoding.caged import CagedDecoder
from sniffer.scan.consumer import Consumer
from sniffer.scan.lease import LeaseKeeper, new_holder, wait_for_lease
from sniffer.scan.listing import ListingTally, StillInaccessible, images_to_score
from sniffer.scan.messages import FromConsumer, FromProducer, Hello, Work
from sniffer.scan.run import ScanRun, Source
from sniffer.scan.score import Scorer

SCAN_ID = "scan-1"
EARLIER_SCAN = "scan-0"
MODEL = ModelRecord(1, "d" * 64, "b" * 64, "p1", THRESHOLD, ModelStatus.STABLE)
PATIENCE_S = 3.0
"""Of everyone with S3, model server and MySQL."""
CONSUMER_DEADLINE_S = 2.5
RESTART_S = (0.1, 0.6)
"""Bounds of the time until a process that ended is started again."""
RECOVERY_S = 8.0
"""How long the traces of a fault may last after its end: a consumer is missed after its deadline; its images are
fetched again; a process that gave up (within PATIENCE_S) starts and connects again; a batch that was waiting ends."""
LEASE_S = 2.0
LETHAL_S = 12.0
"""How long one image that ends consumers may take: seven deaths, each with a start."""
HORIZON_S = 60.0
_SILENCES = frozenset(
    {
        FaultKind.STOP_CONSUMER,
        FaultKind.KILL_PRODUCER,
        FaultKind.STOP_PRODUCER,
        FaultKind.END_PRODUCER,
        FaultKind.CUT,
        FaultKind.CUT_UNNOTICED,
        FaultKind.CUT_LINGERING,
        FaultKind.SLOW_NETWORK,
        FaultKind.DATABASE_AWAY,
    }
)
"""Faults that may keep a consumer from hearing of the producer, which opens the scan in MySQL before all else."""
_KEEP_FROM_NOTHING = frozenset(
    {
        FaultKind.OTHER_SCAN,
        FaultKind.OLD_RELEASE,
        FaultKind.NEW_RELEASE,
        FaultKind.S3_SLOW,
        FaultKind.SERVING_SLOW,
    }
)
"""Faults after which one run has to do all the same."""


@dataclass(slots=True)
class Finished:
    """How a history ended. `lines` is its story, if it was to be told."""

    violation: str | None
    ended_at: float
    lines: list[str] = field(default_factory=list)


class History:
    """The world of one plan. Consumers that end are started again; a scan that ends incomplete is run again."""

    def __init__(self, plan: Plan, *, tell: bool = False) -> None:
        self.plan = plan
        self.lines: list[str] = []
        self._tells = tell
        self._rng = random.Random(plan.rng_seed)
        self.clockwork = Clockwork()
        self.network = Network(self.clockwork, self._rng)
        self.bucket = MemoryBucket(self.clockwork, self._rng, PATIENCE_S)
        self.server = MemoryModelServer(self.clockwork, self._rng, PATIENCE_S)
        self.database = MemoryDatabase(self.clockwork, self._rng)
        self.truth = Truth(plan, self.bucket, self.database, SCAN_ID, CONSUMER_DEADLINE_S)
        self.settings = FleetSettings(
            batch_size=plan.batch_size,
            beat_s=0.5,
            consumer_deadline_s=CONSUMER_DEADLINE_S,
            producer_deadline_s=4.0,
            no_consumer_s=8.0,
            no_progress_s=15.0,
            work_limit_s=8.0,
            budgets=Budgets(failed=plan.error_budget, gone=1.0, unreadable=1.0),
            fetch_threads=plan.fetch_threads,
            held_bytes=plan.held_bytes,
        )
        self.consumers: list[Process | None] = [None] * len(plan.arrivals)
        self.loops: dict[Process, Consumer] = {}
        self.decoders: dict[Process, MemoryDecoder] = {}
        self._started = 0
        self.producer: Process | None = None
        self.run: ScanRun | None = None
        self.is_over = False
        self.violation: str | None = None
        self.clockwork.on_failure = self._blame

    def play(self) -> Finished:
        """Let it happen, to the end or to the first violation."""
        self._fill()
        self.network.watch_producer = self._watch_received
        self.network.watch_sent = self._watch_sent
        for slot, at_s in enumerate(self.plan.arrivals):
            self.clockwork.after(at_s, self._consumer_starter(slot))
        for fault in self.plan.faults:
            self.clockwork.after(fault.at_s, striker(self, fault))
        self._start_producer()
        lethal = sum(body.startswith(LETHAL) for body in self.plan.bodies)
        horizon_s = self.plan.quiet_from + RECOVERY_S + HORIZON_S + lethal * LETHAL_S
        self.clockwork.run(lambda: self.is_over or self.violation is not None, horizon_s)
        if not self.is_over and self.violation is None:
            self.violation = f"liveness: the scan has not ended at {self.clockwork.now:.1f} s"
        ended_at = self.clockwork.now
        self.clockwork.close()
        return Finished(self.violation, ended_at, self.lines)

    def say(self, text: str) -> None:
        """A line of the story."""
        if self._tells:
            self.lines.append(f"{self.clockwork.now:8.3f} s  {text}")

    def _blame(self, process: Process, error: Exception) -> None:
        self.violation = self.violation or f"{process.name} crashes: {error!r}"

    # ---- the world before -----------------------------------------------------------------------------------

    def _fill(self) -> None:
        earlier = self.database.open(EARLIER_SCAN)
        for number, body in enumerate(self.plan.bodies):
            key = f"k{number:02}"
            self.bucket.put(key, body)
            if number in self.plan.stored:
                self.database.write(self.result_of(key), earlier)
            if number in self.plan.failed_before:
                verdict = Unscored(Outcome.FAILED, "fetch", "S3 was away")
                self.database.write(verdict.of(self.bucket.listed(key)), earlier)
        self.database.check_write = self._check_write
        self.database.check_lease = lambda number, holder: self._judge(lambda: self.truth.check_lease(number, holder))
        self.database.check_token = lambda token, newest: self._judge(lambda: self.truth.check_token(token, newest))

    def result_of(self, key: str) -> Result:
        image, body = self.bucket.listed(key), self.bucket.bodies[key]
        return self.truth.result_of(image, body, true_score(body))

    def _check_write(self, before: tuple[Outcome, str], after: tuple[Outcome, str]) -> None:
        self._judge(lambda: self.truth.check_write(before, after))

    # ---- processes ------------------------------------------------------------------------------------------

    def _start_producer(self) -> None:
        if self.is_over:
            return
        process = self.producer = Process(self.clockwork, "producer")
        process.at_end.append(lambda: self._rerun_later(process))
        process.spawn(lambda: self._produce(process))

    def _produce(self, process: Process) -> None:
        plan, tally = self.plan, ListingTally()
        request = ScanRequest(
            SCAN_ID, "bkt", limit=plan.limit, rescan=plan.rescan, retry_failed=plan.retry_failed, allow_empty=True
        )
        sessions = [Session(self.database, process, PATIENCE_S) for _ in range(3)]
        flags, watched = (MemoryFlags(self.database, process, PATIENCE_S) for _ in range(2))
        channel = ProducerEnd(self.network, process)
        self.truth.begin_run()
        source = Source(
            self._images(request, sessions[1], tally),
            tally,
            self.bucket.fetch,
            SimulatedThreads(process, 1),
            SimulatedThreads(process, plan.fetch_threads),
            LeaseKeeper(sessions[2].renew, SimulatedThreads(process, 1), LEASE_S, self.clockwork.time),
            breaker_of(watched, process, self.clockwork, tally),
            lambda: None,
        )
        run = ScanRun(
            request,
            MODEL,
            sessions[0],
            flags,
            source,
            channel,
            self.settings,
            self.clockwork.time,
            self.clockwork.sleep,
        )
        self.run = run
        channel.before_wait = lambda: self._judge(
            lambda: self.truth.check_ledger(run.dispatcher.ledger, tally, self.network.consumers)
        )
        self.say("the producer starts")
        try:
            certificate = run.run()
        except SnifferError as error:
            self._judge_error("the producer", error)
            self.say(f"the producer ends: {error}")
        else:
            self._judge_certificate(certificate, run, tally)
        channel.close()
        process.kill()

    def run_twice(self) -> None:
        """The scan is started again beside the producer, by a process that dies as soon as it may begin."""
        twin = Process(self.clockwork, "the second run")

        def claim() -> None:
            session, holder = Session(self.database, twin, PATIENCE_S), new_holder()
            request = ScanRequest(SCAN_ID, "bkt")
            try:
                wait_for_lease(
                    lambda: session.open(request, 1, THRESHOLD, holder=holder, lease_s=LEASE_S),
                    self.clockwork.sleep,
                    lambda: self.is_over,
                )
                self.say("the second run takes over, and dies")
            except SnifferError as error:
                self.say(f"the second run ends: {error}")
            twin.kill()

        twin.spawn(claim)

    def _images(self, request: ScanRequest, session: Session, tally: ListingTally) -> Iterator[list[ListedObject]]:
        pages = self._failed_pages(session) if self.plan.retry_failed else self.bucket.pages(self.plan.page_size)
        scan_id = SCAN_ID if self.plan.rescan else None
        still = StillInaccessible(session.inaccessible, self.bucket.inaccessible_code)
        return images_to_score(
            self.truth.watched(pages),
            request,
            lambda ids: dict.fromkeys(session.settled(ids, scan_id=scan_id), False),
            tally,
            still,
        )

    def _failed_pages(self, session: Session) -> Iterator[list[ListedObject]]:
        for page in session.failed_pages(self.plan.page_size):
            yield [self.database.rows[identity].result.image for identity in page]

    def _rerun_later(self, process: Process) -> None:
        if self.producer is process:
            self.producer = None
            self.clockwork.after(self._rng.uniform(*RESTART_S), self._start_producer)

    def _consumer_starter(self, slot: int) -> Callable[[], None]:
        def start() -> None:
            if self.is_over:
                return
            self._started += 1
            name = f"consumer-{self._started}"
            process = self.consumers[slot] = Process(self.clockwork, name)
            process.at_end.append(
                lambda: self.clockwork.after(self._rng.uniform(*RESTART_S), self._consumer_starter(slot))
            )
            process.spawn(lambda: self._consume(process))

        return start

    def _consume(self, process: Process) -> None:
        channel = ConsumerEnd(self.network, process, process.name.encode())

        def die_of(body: bytes) -> None:
            self.truth.killed_by[body] += 1
            self.say(f"{process.name} dies")
            channel.machine_stays = True
            process.kill()
            self.clockwork.this_thread().park()

        def start_decoder() -> MemoryDecoder:
            decoder = self.decoders[process] = MemoryDecoder(die_of)
            return decoder

        session, decoder = Session(self.database, process, PATIENCE_S), CagedDecoder(start_decoder, cpu_s=3.0)
        scorer = Scorer(session, self.server, decoder.render, self.settings.batch_size)
        consumer = self.loops[process] = Consumer(
            channel,
            scorer.score,
            SimulatedThreads(process, 1),
            self.settings,
            process.name,
            self.clockwork.time,
        )
        self.say(f"{process.name} starts")
        try:
            consumer.run()
            self.say(f"{process.name} ends")
        except SnifferError as error:
            self._judge_error(process.name, error)
            self.say(f"{process.name} ends: {error}")
        channel.close()
        process.kill()

    # ---- judging --------------------------------------------------------------------------------------------

    def _watch_received(self, name: bytes, message: FromConsumer) -> None:
        if self._tells:
            self.say(f"{name.decode(errors='replace')} says {_shown(message)}")
        self._judge(lambda: self.truth.check_received(name, message))

    def _watch_sent(self, name: bytes, message: FromProducer) -> None:
        if self._tells:
            self.say(f"{name.decode(errors='replace')} is sent {_shown(message)}")
        self._judge(lambda: self.truth.check_sent(name, message))

    def _judge(self, check: Callable[[], None]) -> None:
        try:
            check()
        except Violation as violation:
            self.violation = self.violation or str(violation)

    def _judge_error(self, who: str, error: SnifferError) -> None:
        if isinstance(error, ContractError | SettingsError):
            self.violation = self.violation or f"{who} ends for good, though nothing is wrong for good: {error}"
        kinds = {fault.kind for fault in self.plan.faults}
        if isinstance(error, ScanInUse) and FaultKind.SECOND_RUN not in kinds:
            self.violation = self.violation or f"{who} is refused, though nobody else runs the scan: {error}"
        if str(error).startswith("no word from a producer") and not kinds & _SILENCES:
            self.violation = self.violation or f"{who} leaves, though the producer is there: {error}"

    def _judge_certificate(self, certificate: Certificate, run: ScanRun, tally: ListingTally) -> None:
        self.say("certificate: " + ("holds" if certificate.holds else "; ".join(certificate.problems)))
        complete = all(_is_of_budget(problem) for problem in certificate.problems)
        self._judge(lambda: self.truth.check_certificate(certificate, run.dispatcher.ledger, complete=complete))
        if not complete and {fault.kind for fault in self.plan.faults} <= _KEEP_FROM_NOTHING:
            self.violation = self.violation or f"kept from nothing, but {certificate.problems}"
        self.is_over = self.is_over or complete


def _is_of_budget(problem: str) -> bool:
    """Whether it says how images ended, not that some have not."""
    return "error budget" in problem or "S3 refused each" in problem


def _shown(message: FromConsumer | FromProducer) -> str:
    if isinstance(message, Work):
        return f"Work({message.number}, {message.image.key}{', a verdict' if message.verdict else ''})"
    if isinstance(message, Hello):
        return f"Hello(credit={message.credit})"
    text = repr(message)
    return text if len(text) < 120 else text[:117] + "..."


def check(plan: Plan, *, tell: bool = False) -> Finished:
    """Play that history. It must also end within twice the time that it takes undisturbed, once the faults are over."""
    with _silence():
        return _check(plan, tell=tell)


@contextmanager
def _silence() -> Iterator[None]:
    """Logging costs more than a history; who tests next in this process wants it back."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def _check(plan: Plan, *, tell: bool) -> Finished:
    finished = History(plan, tell=tell).play()
    late_from = plan.quiet_from + RECOVERY_S + LETHAL_S * sum(body.startswith(LETHAL) for body in plan.bodies)
    if finished.violation is None and plan.faults and finished.ended_at > late_from:
        undisturbed_s = History(undisturbed(plan)).play().ended_at
        # What a fail-over lost is scored again by another run of the scan.
        reruns = sum(fault.kind is FaultKind.LOST for fault in plan.faults)
        if finished.ended_at > late_from + 2 * undisturbed_s + reruns * (RECOVERY_S + undisturbed_s):
            finished.violation = (
                f"liveness: quiet from {plan.quiet_from:.1f} s on, but ended at {finished.ended_at:.1f} s; undisturbed "
                f"it takes {undisturbed_s:.1f} s"
            )
    return finished


def undisturbed(plan: Plan) -> Plan:
    """The same history without its faults."""
    return Plan(**{name: getattr(plan, name) for name in plan.__slots__} | {"faults": ()})
