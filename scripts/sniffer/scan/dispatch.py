"""The producer's loop: takes listed images, fetches them, hands them to consumers against credit, accounts for each.

One thread lists, a few fetch; the loop alone owns the ledger and the channel.
"""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable
from concurrent.futures import Executor

from sniffer.adapters.s3.errors import NotFetched
from sniffer.core.errors import IncompleteScan, SupersededRun
from sniffer.core.metrics import NO_METRICS, STAGE_SECONDS, Metrics
from sniffer.core.records import ListedObject, Outcome, Unscored
from sniffer.core.settings import FleetSettings
from sniffer.core.text import one_line, printable
from sniffer.scan.breaker import FloodBreaker
from sniffer.scan.certificate import over_budget
from sniffer.scan.channel import Clock, ConsumerLost, ProducerChannel
from sniffer.scan.holdings import Entry
from sniffer.scan.lease import LeaseKeeper
from sniffer.scan.ledger import Ledger
from sniffer.scan.lister import Lister
from sniffer.scan.messages import (
    PROTOCOL,
    Done,
    FromConsumer,
    FromProducer,
    HandBack,
    Heartbeat,
    Hello,
    Leave,
    Refused,
    Reregister,
    ScanFinished,
    Unintelligible,
    Welcome,
    Work,
)
from sniffer.scan.peers import MAX_CONSUMERS, PeerLog, RefusedPeers, shown
from sniffer.scan.progress import ScanProgress
from sniffer.scan.recheck import Recheck
from sniffer.scan.turns import TurnWatch

log = logging.getLogger(__name__)

EARLY_FAILURES = 100
"""Once so many images failed, a scan that is over its error budget stops instead of failing forty million times."""

ALIVE_S = 4.5
"""A consumer whose connection ended when it had been heard within this time died; ZeroMQ drops a frozen one later."""

FAREWELL_S = 2.0
"""How long the end waits for the consumers' goodbyes."""


class Dispatcher:
    """The loop that owns the ledger. It ends when every listed image has an outcome, or with an error that says why.

    What a peer says ends nothing: `recheck` asks the model server and MySQL again when a consumer calls an error fatal,
    and raises ContractError or SettingsError when it finds one, too. It runs on the threads of `fetchers`.
    """

    def __init__(
        self,
        channel: ProducerChannel,
        lister: Lister,
        fetch: Callable[[ListedObject], bytes],
        fetchers: Executor,
        settings: FleetSettings,
        progress: ScanProgress,
        clock: Clock,
        recheck: Callable[[], None],
        keeper: LeaseKeeper,
        breaker: FloodBreaker,
        metrics: Metrics = NO_METRICS,
    ) -> None:
        self._metrics = metrics
        self._channel = channel
        self._lister = lister
        self._fetch = fetch
        self._fetchers = fetchers
        self._job: Welcome
        self._settings = settings
        self._progress = progress
        self._clock = clock
        self.ledger = Ledger(deadline_s=settings.consumer_deadline_s, held_bytes=settings.held_bytes)
        self._fetched: queue.SimpleQueue[tuple[int, bytes | Unscored | BaseException]] = queue.SimpleQueue()
        self._turns = TurnWatch(clock, settings.consumer_deadline_s / 4)
        self._blames_from = 0.0
        self._deaths = 0
        self._last_beat = 0.0
        self._last_consumer = self._last_progress = clock()
        self._seen = -1
        self._complaint = ""
        self._recheck = Recheck(recheck, fetchers, clock, channel.wake)
        self._keeper = keeper
        self._breaker = breaker
        self._refused = RefusedPeers(clock)
        self._peer_log = PeerLog(log, clock)
        self._stopping = False
        self._farewell_until: float | None = None
        self._error: Exception | None = None

    def stop(self) -> None:
        """End soon, incomplete. Safe in a signal handler."""
        self._stopping = True
        self._channel.wake()

    def run(self, job: Welcome) -> None:
        """Hand out images until all have an outcome. Raises SnifferError when that cannot be reached."""
        self._job = job
        self._last_consumer = self._last_progress = self._clock()
        while self.turn():
            self._channel.wait(self.wait_s)

    @property
    def wait_s(self) -> float:
        """How long the loop may wait for something to arrive before its next turn."""
        return self._settings.beat_s / 2 if self._farewell_until is None else FAREWELL_S / 20

    def turn(self) -> bool:
        """Do what there is to do now, without waiting; returns whether another turn is needed.

        The last turn, after the farewell, raises what ended the scan early.
        """
        if frozen_s := self._turns.frozen_s(self.wait_s):
            self._excuse(frozen_s)
        if self._farewell_until is None:
            self._serve()
        else:
            self._hear_goodbyes()
        if isinstance(self._error, SupersededRun):
            raise self._error
        if self._farewell_until is None or (self.ledger.alive and self._clock() < self._farewell_until):
            return True
        if self._error is not None:
            raise self._error
        return False

    def _serve(self) -> None:
        try:
            self._move_images()
        except Exception as error:  # noqa: BLE001 - the last turn raises it, after the consumers have been told
            self._error = error
        if self._error or (self._lister.finished and self.ledger.in_flight == 0):
            self._dismiss()

    def _move_images(self) -> None:
        for name, message in self._channel.receive():
            self._hear(name, message)
        self._take_listed()
        self._take_fetched()
        self._start_fetches()
        self._hand_out()
        self._requeue_expired()
        self._recheck.take()
        self._beat()
        self._progress.report(self.ledger.done, self.ledger.in_flight, len(self.ledger.alive))
        self._keeper.keep(self._job.token)
        self._breaker.check(self._job.token)
        self._check_limits()

    def _excuse(self, frozen_s: float) -> None:
        """We were frozen, and heard nobody: nobody was silent, and connections that broke meanwhile prove no death."""
        now = self._clock()
        log.warning(
            "this process did not run for %.1f s: it waits for consumers as if they had just been heard", frozen_s
        )
        self.ledger.excuse_silence(now - frozen_s, now)
        self._blames_from = now + self._settings.consumer_deadline_s
        self._last_consumer += frozen_s
        self._last_progress += frozen_s

    # ---- listing and fetching -------------------------------------------------------------------------------

    def _take_listed(self) -> None:
        while not self._lister.finished and self.ledger.to_fetch < self._settings.batch_size:
            page = self._lister.take()
            if page is None:
                return
            for image in page:
                self.ledger.add(image)

    def _start_fetches(self) -> None:
        ahead = self.ledger.open_credit + self._settings.fetch_threads
        while self.ledger.to_fetch and self.ledger.on_hand < ahead and self._has_room():
            entry = self.ledger.next_to_fetch()
            if entry is not None:
                self._start_fetch(entry)

    def _has_room(self) -> bool:
        return self.ledger.on_hand_bytes < self._settings.held_bytes

    def _start_fetch(self, entry: Entry) -> None:
        if entry.is_poison:
            reason = f"{entry.lone_deaths} consumers died before it was decoded, each holding nothing else"
            self.ledger.fetched(entry.number, Unscored(Outcome.FAILED, "kills_consumers", reason), self._clock())
        else:
            self._fetchers.submit(self._fetch_one, entry.number, entry.image)

    def _fetch_one(self, number: int, image: ListedObject) -> None:
        content: bytes | Unscored | BaseException
        try:
            content = self._fetch(image)
        except NotFetched as error:
            content = error.verdict
        except Exception as error:  # noqa: BLE001 - carried over to the loop, which raises it
            content = error
        self._fetched.put((number, content))
        self._channel.wake()

    def _take_fetched(self) -> None:
        while not self._fetched.empty():
            number, content = self._fetched.get_nowait()
            if isinstance(content, BaseException):
                raise content
            self.ledger.fetched(number, content, self._clock())

    # ---- consumers ------------------------------------------------------------------------------------------

    def _hear(self, name: bytes, message: FromConsumer) -> None:
        if isinstance(message, Unintelligible):
            self._refuse(name, message.reason)
            return
        if isinstance(message, Hello):
            self._welcome(name, message)
            return
        if not self.ledger.knows(name):
            self._send(name, Reregister())
            return
        if self.ledger.mark_alive(name, self._clock()):
            self._peer_log.say(logging.WARNING, "%s is back", shown(name))
        if self.ledger.awaits_hello(name):
            self._send(name, Reregister())  # until it does: one may be lost with the connection that it came over
        match message:
            case Done() if message.session == self._job.session:
                self._settle(name, message)
                self.ledger.grant_credit(name, message.credit)
            case Done():
                # Of an earlier producer, whose images are listed again; but the consumer has room again.
                self.ledger.grant_credit(name, message.credit)
            case HandBack() if message.session == self._job.session:
                self.ledger.hand_back(name, message.numbers)
            case Heartbeat() if message.session == self._job.session:
                self._reconcile(name, message)
            case Heartbeat():
                self._send(name, self._job)  # our welcome was lost with a connection
            case Leave():
                self._part(name, message)

    def _welcome(self, name: bytes, hello: Hello) -> None:
        reason = self._objection(name, hello)
        if reason:
            self._refuse(name, reason)
            return
        if not self.ledger.knows(name):
            self._peer_log.say(logging.INFO, "%s joins", printable(hello.name)[:80])
        holds = hello.holds if hello.session == self._job.session else ()
        self.ledger.join(name, hello.credit, self._clock(), holds)
        self._send(name, self._job)

    def _objection(self, name: bytes, hello: Hello) -> str:
        """Why that consumer cannot work for us, or an empty text."""
        if hello.protocol != PROTOCOL:
            return f"it speaks protocol {hello.protocol}, this producer {PROTOCOL}: run the same release"
        ours, theirs = self._settings.max_image_bytes, hello.max_image_bytes
        if theirs < ours:
            return f"its SNIFFER_MAX_IMAGE_BYTES is {theirs}, this producer's {ours}: give both the same"
        if not self.ledger.knows(name) and not self.ledger.make_room(MAX_CONSUMERS):
            return f"there are {MAX_CONSUMERS} consumers already"
        return ""

    def _refuse(self, name: bytes, reason: str) -> None:
        """A peer that speaks wrongly gets no work, and whatever it says does not end the scan."""
        self.ledger.leave(name)
        if self._refused.is_new(name):
            self._peer_log.say(logging.ERROR, "%s is refused: %s", shown(name), one_line(reason))
        if self._refused.may_answer(name):
            self._send(name, Refused(reason))

    def _reconcile(self, name: bytes, beat: Heartbeat) -> None:
        self.ledger.mark_decoded(name, beat.decoded)
        lost = self.ledger.reconcile(name, beat.holds, self._clock())
        if lost:
            text = "%d images never reached %s, or its answer us: they go to others"
            self._peer_log.say(logging.WARNING, text, lost, shown(name))

    def _settle(self, name: bytes, done: Done) -> None:
        now = self._clock()
        for number, outcome in done.outcomes:
            self.ledger.settle(name, number, outcome, now)

    def _part(self, name: bytes, bye: Leave) -> None:
        self.ledger.leave(name)
        error = one_line(bye.error)
        self._peer_log.say(logging.INFO, "%s leaves%s", shown(name), f": {error}" if error else "")
        self._complaint = error or self._complaint
        if bye.fatal:
            self._recheck.ask()

    def _hand_out(self) -> None:
        while grant := self.ledger.next_grant(self._clock()):
            name, entry = grant
            self._metrics.observe(STAGE_SECONDS, entry.granted_at - entry.ready_at, stage="wait")
            self._send(name, Work(self._job.session, entry.number, entry.image, entry.verdict, entry.release()))

    def _send(self, name: bytes, message: FromProducer) -> None:
        try:
            self._channel.send(name, message)
        except ConsumerLost:
            # A connection that was replaced may still speak; ZeroMQ then gives it a name that nobody knows.
            if self.ledger.knows(name):
                self._mark_dead(name, "has vanished", blames=self._was_alive_just_now(name))

    def _requeue_expired(self) -> None:
        now = self._clock()
        for name in self.ledger.expired(now):
            self._mark_dead(name, f"has been silent for {self._settings.consumer_deadline_s:g} s", blames=False)
        # A consumer ends itself when a batch takes longer than its limit; this one does not, whatever it is.
        limit_s = self._settings.work_limit_s + self._settings.consumer_deadline_s
        for name in self.ledger.stuck(now, limit_s):
            count = self.ledger.take_away(name)
            text = "%s has answered for no image for %g s: its %d images go to others"
            self._peer_log.say(logging.WARNING, text, shown(name), limit_s, count)

    def _was_alive_just_now(self, name: bytes) -> bool:
        """Whether its connection ended while it worked. ZeroMQ drops a peer that is frozen, too, but takes longer."""
        now = self._clock()
        return now >= self._blames_from and now - self.ledger.last_heard(name) <= ALIVE_S

    def _mark_dead(self, name: bytes, why: str, *, blames: bool) -> None:
        returned = self.ledger.mark_dead_and_requeue(name, blames=blames)
        self._deaths += blames and bool(returned)
        text = "%s %s: its %d images go to others"
        self._peer_log.say(logging.WARNING, text, shown(name), why, len(returned))

    def _beat(self) -> None:
        now = self._clock()
        if now - self._last_beat >= self._settings.beat_s:
            self._last_beat = now
            for name in self.ledger.alive:
                self._send(name, Heartbeat(self._job.session))

    def _dismiss(self) -> None:
        """Tell every consumer that it is over, and give each the time to finish its last batch and say goodbye."""
        self._farewell_until = self._clock() + FAREWELL_S
        self._lister.stop()
        self._fetchers.shutdown(wait=False, cancel_futures=True)
        if isinstance(self._error, SupersededRun):
            return  # for the consumers it goes on, with the newer run
        for name in self.ledger.alive:
            self._send(name, ScanFinished())

    def _hear_goodbyes(self) -> None:
        self._keeper.keep(self._job.token)
        for name, message in self._channel.receive():
            if isinstance(message, Done) and message.session == self._job.session and self.ledger.knows(name):
                self._settle(name, message)
            elif isinstance(message, Leave):
                self.ledger.leave(name)
            elif isinstance(message, Hello):
                self._send(name, ScanFinished())

    # ---- limits ---------------------------------------------------------------------------------------------

    def _check_limits(self) -> None:
        if self._stopping:
            raise IncompleteScan("stopped before the end: run again with the same flags to do what is left")
        now = self._clock()
        if self.ledger.alive or not self.ledger.in_flight:
            self._last_consumer = now
        elif now - self._last_consumer > self._settings.no_consumer_s:
            why = f" (the last one said: {self._complaint})" if self._complaint else ""
            raise IncompleteScan(
                f"no consumer at {self._channel.endpoint} for {self._settings.no_consumer_s:g} s{why}: start some "
                "with `sniffer consume`, then run again"
            )
        self._check_progress(now)
        failed, so_far = self.ledger.counts[Outcome.FAILED], self.ledger.done + self._progress.tally.decided
        if failed >= EARLY_FAILURES and over_budget(failed, so_far, self._settings.budgets.failed):
            raise IncompleteScan(f"{failed} of the first {so_far} images failed: see the samples for why")

    def _check_progress(self, now: float) -> None:
        # A death is one step towards the verdict on what causes it.
        seen = self.ledger.done + self._progress.tally.seen + self._deaths
        if seen != self._seen:
            self._seen, self._last_progress = seen, now
        elif now - self._last_progress > self._settings.no_progress_s:
            raise IncompleteScan(
                f"nothing has moved for {self._settings.no_progress_s:g} s with {self.ledger.in_flight} images under "
                "way: look at the consumers' logs, then run again"
            )
