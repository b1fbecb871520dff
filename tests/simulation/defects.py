"""Defects that the simulation must find: each a replacement in one file of the scan, and what it would do to a user."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

LEDGER = "sniffer/scan/ledger.py"
DISPATCH = "sniffer/scan/dispatch.py"
CONSUMER = "sniffer/scan/consumer.py"
SCORE = "sniffer/scan/score.py"
LISTING = "sniffer/scan/listing.py"
LISTER = "sniffer/scan/lister.py"
CERTIFICATE = "sniffer/scan/certificate.py"
RUN = "sniffer/scan/run.py"
MESSAGES = "sniffer/scan/messages.py"
STORE = "sniffer/adapters/mysql/decisions.py"


@dataclass(frozen=True, slots=True)
class Defect:
    """`before` stands once in `file` and becomes `after`; `harm` is what a user would see of it."""

    name: str
    file: str
    before: str
    after: str
    harm: str

    def plant(self, scripts: Path) -> None:
        """Put the defect into the file below that folder. ValueError when the text does not stand there once."""
        path = scripts / self.file
        text = path.read_text()
        if text.count(self.before) != 1:
            raise ValueError(f"{self.name}: {self.before!r} stands {text.count(self.before)} times in {self.file}")
        path.write_text(text.replace(self.before, self.after))


DEFECTS = (
    # ---- ledger ---------------------------------------------------------------------------------------------
    Defect(
        "dead-images-dropped",
        LEDGER,
        "        del self._holder[number]\n        self._waiting.appendleft(entry)\n",
        "        del self._holder[number]\n",
        "A consumer that dies takes its images with it: the scan ends without them.",
    ),
    Defect(
        "duplicate-counted-twice",
        LEDGER,
        "            return True\n        return False\n",
        "            return True\n        self.counts[outcome] += 1\n        return False\n",
        "An image that two consumers scored counts twice: the certificate of a good scan is refused.",
    ),
    Defect(
        "given-up-counts-twice",
        LEDGER,
        "            self.counts[self._given_up.pop(number)] -= 1\n",
        "            self._given_up.pop(number)\n",
        "An image that failed and was scored after all counts as both.",
    ),
    Defect(
        "gone-stays-gone",
        LEDGER,
        "_GIVEN_UP = frozenset({Outcome.FAILED, Outcome.GONE})",
        "_GIVEN_UP = frozenset({Outcome.FAILED})",
        "The certificate says `gone` of an image that MySQL has a score for.",
    ),
    Defect(
        "late-acknowledgement-ignored",
        LEDGER,
        "            self._waiting.remove(entry)\n            return entry\n",
        "            return None\n",
        "What a stopped consumer scored is scored again by another: hours of GPU for nothing.",
    ),
    Defect(
        "waiting-image-acknowledged-and-kept",
        LEDGER,
        "            self._waiting.remove(entry)\n            return entry\n",
        "            return entry\n",
        "An image that is done is handed out again and counts twice.",
    ),
    Defect(
        "ready-image-acknowledged-and-kept",
        LEDGER,
        "            if entry in self._ready:\n                self._ready.remove(entry)\n",
        "",
        "An image that is done is handed out again and counts twice.",
    ),
    Defect(
        "poison-goes-on",
        LEDGER,
        "DEATHS_BEFORE_FAILURE = 3",
        "DEATHS_BEFORE_FAILURE = 4",
        "One hostile image takes down one consumer more than the documents say.",
    ),
    Defect(
        "poison-never-ends",
        LEDGER,
        "        return self.deaths >= DEATHS_BEFORE_FAILURE\n",
        "        return False\n",
        "One hostile image kills consumers for ever; the scan never ends.",
    ),
    Defect(
        "suspects-in-company",
        LEDGER,
        "        return self.deaths >= DEATHS_BEFORE_QUARANTINE and self.verdict is None\n",
        "        return False\n",
        "Images that happened to travel with a hostile one are given up as `kills_consumers`.",
    ),
    Defect(
        "company-for-a-suspect",
        LEDGER,
        "        if any(held.is_suspect for held in consumer.held.values()):\n            return False\n",
        "",
        "Images that were sent after a hostile one to the same consumer are blamed with it.",
    ),
    Defect(
        "verdicts-are-blamed",
        LEDGER,
        "        blamed = [entry for entry in returned if entry.verdict is None]\n",
        "        blamed = list(returned)\n",
        "A deleted object is reported as one that kills consumers.",
    ),
    Defect(
        "verdict-outlives-the-fetch",
        LEDGER,
        "            entry.verdict, entry.body, entry.size_bytes = None, content, len(content)\n",
        "            entry.body, entry.size_bytes = content, len(content)\n",
        "An image that S3 gave at the second try is stored as failed.",
    ),
    Defect(
        "credit-of-the-dead-lost",
        DISPATCH,
        '            log.warning("%s is back", shown(name))\n            self._send(name, Reregister())\n',
        '            log.warning("%s is back", shown(name))\n',
        "A consumer whose connection broke for a moment idles for the rest of the scan.",
    ),
    Defect(
        "credit-asked-twice",
        LEDGER,
        "        consumer.credit = credit - len(under_way)\n",
        "        consumer.credit = credit\n",
        "A consumer is sent twice what it asked for, and its memory limit ends it.",
    ),
    Defect(
        "credit-of-lost-images-kept",
        LEDGER,
        "        consumer.credit += len(lost)\n",
        "",
        "With each connection that breaks a consumer gets less to do, in the end nothing.",
    ),
    Defect(
        "lost-images-not-missed",
        LEDGER,
        "if entry.number not in there and now - entry.granted_at > self._deadline_s",
        "if entry.number in there and now - entry.granted_at > 1e9",
        "Images that were under way when a connection broke are waited for in vain: the scan stalls.",
    ),
    Defect(
        "expiry-ignored",
        LEDGER,
        "            if consumer.alive and now - consumer.last_heard > self._deadline_s\n",
        "            if consumer.alive and now - consumer.last_heard > 1e9\n",
        "The images of a machine that lost its power are waited for in vain.",
    ),
    Defect(
        "leaving-forgets-images",
        LEDGER,
        "        self.hand_back(name, list(consumer.held) if consumer else ())\n",
        "",
        "A consumer that ends in good order takes along what it had not begun.",
    ),
    # ---- dispatch -------------------------------------------------------------------------------------------
    Defect(
        "session-not-checked",
        DISPATCH,
        "            case Done() if message.session == self._job.session:\n",
        "            case Done():\n",
        "After a rerun, acknowledgements for the first run's images count for others, which are never scored.",
    ),
    Defect(
        "ends-before-the-listing",
        DISPATCH,
        "        if self._error or (self._lister.finished and self.ledger.in_flight == 0):\n",
        "        if self._error or (self.ledger.done and self.ledger.in_flight == 0):\n",
        "A scan ends whenever the fleet is faster than the listing, with a part of the bucket.",
    ),
    Defect(
        "ends-with-images-in-hand",
        DISPATCH,
        "(self._lister.finished and self.ledger.in_flight == 0)",
        "(self._lister.finished and self.ledger.to_fetch + self.ledger.on_hand == 0)",
        "The scan ends when the last image is handed out, not when it is stored.",
    ),
    Defect(
        "end-told-to-nobody",
        DISPATCH,
        "        for name in self.ledger.alive:\n            self._send(name, ScanFinished())\n",
        "",
        "After every scan the consumers wait for half a minute and end with an error.",
    ),
    Defect(
        "other-release-gets-work",
        DISPATCH,
        "        if hello.protocol != PROTOCOL:\n",
        "        if hello.protocol < 0:\n",
        "During an upgrade, old consumers get images that they misunderstand.",
    ),
    Defect(
        "other-release-ends-the-scan",
        DISPATCH,
        "            self._refuse(name, message.reason)\n            return\n",
        "            raise ContractError(message.reason)\n",
        "During an upgrade, one old consumer that connects ends the scan.",
    ),
    Defect(
        "lost-welcome",
        DISPATCH,
        "                self._send(name, self._job)  # our welcome was lost with a connection\n",
        "                pass\n",
        "A consumer whose connection broke at the wrong moment never works.",
    ),
    Defect(
        "no-beat",
        DISPATCH,
        "                self._send(name, Heartbeat(self._job.session))\n",
        "                pass\n",
        "While images are slow to come, consumers take the producer for dead and leave.",
    ),
    Defect(
        "fetch-error-swallowed",
        DISPATCH,
        "            content = error.verdict\n",
        "            return\n",
        "One object that was deleted meanwhile keeps the scan from ever ending.",
    ),
    Defect(
        "fetches-by-the-page",
        DISPATCH,
        "        while self.ledger.to_fetch and self.ledger.on_hand < ahead and self._has_room():\n",
        "        while self.ledger.to_fetch and self.ledger.on_hand < ahead:\n",
        "Of a bucket with large images the producer keeps as many as come, until its memory limit ends it.",
    ),
    # ---- consumer and scorer --------------------------------------------------------------------------------
    Defect(
        "acknowledged-before-the-commit",
        CONSUMER,
        "        self._working.add_done_callback(lambda _: self._channel.wake())\n",
        "        self._working.add_done_callback(lambda _: self._channel.wake())\n"
        "        done = tuple((work.number, Outcome.PREDICTED) for work in self._batch)\n"
        "        self._channel.send(Done(self._batch[0].session, done, credit=0))\n",
        "A consumer that dies loses images that count as scored: the certificate is wrong.",
    ),
    Defect(
        "credit-not-renewed",
        CONSUMER,
        "tuple(outcomes), credit=len(self._batch))",
        "tuple(outcomes), credit=len(self._batch) - 1)",
        "Each batch makes a consumer slower, until it stands still.",
    ),
    Defect(
        "credit-grows",
        CONSUMER,
        "tuple(outcomes), credit=len(self._batch))",
        "tuple(outcomes), credit=len(self._batch) + 1)",
        "Consumers hold more and more images, until their memory limit ends them.",
    ),
    Defect(
        "room-not-subtracted",
        CONSUMER,
        "        credit = 2 * self._settings.batch_size - len(self._batch) - len(self._inbox)\n",
        "        credit = 2 * self._settings.batch_size\n",
        "After each rerun a consumer holds one batch more than its memory is for.",
    ),
    Defect(
        "numbers-of-two-sessions",
        CONSUMER,
        "for work in (*self._batch, *self._inbox) if work.session == self._session)",
        "for work in (*self._batch, *self._inbox))",
        "After a rerun some images are dropped as if they were there already, and missed only later.",
    ),
    Defect(
        "inbox-outlives-the-session",
        CONSUMER,
        "        self._inbox.clear()\n        self._on_welcome(welcome)\n",
        "        self._on_welcome(welcome)\n",
        "After a rerun a consumer scores what the first run sent it, and nobody counts it.",
    ),
    Defect(
        "transient-is-fatal",
        CONSUMER,
        "        fatal = isinstance(self._error, ContractError | SettingsError)\n",
        "        fatal = self._error is not None\n",
        "A model server that restarts ends the scan for good instead of costing one consumer a restart.",
    ),
    Defect(
        "no-patience-with-the-producer",
        CONSUMER,
        "        if now - self._last_heard > limit_s and self._working is None:\n",
        "        if now - self._last_heard > limit_s / 8 and self._working is None:\n",
        "Consumers leave whenever S3 is slow for a few seconds.",
    ),
    Defect(
        "scores-mixed-up",
        SCORE,
        "        scores |= dict(zip(asked, ",
        "        scores |= dict(zip(sorted(asked), ",
        "Images get each other's scores: innocent ones are flagged, others pass.",
    ),
    Defect(
        "unreadable-by-neighbour",
        SCORE,
        "        if content in refused:\n",
        "        if refused:\n",
        "A broken image in a batch makes all others of it unreadable.",
    ),
    Defect(
        "hash-of-another",
        SCORE,
        "        return Result(work.image, outcome, scores[content], content)\n",
        "        return Result(work.image, outcome, scores[content], min(scores))\n",
        "Scores are found again for bytes that were never scored.",
    ),
    # ---- store ----------------------------------------------------------------------------------------------
    Defect(
        "overwritten-by-a-late-duplicate",
        STORE,
        "    if stored is None or not _stands(stored, scan_id, rescan):\n",
        "    if stored is None or stored.scan_id == scan_id or not _stands(stored, scan_id, rescan):\n",
        "A result that reviewers have seen is replaced by a late duplicate, or by a failure.",
    ),
    Defect(
        "rescan-overwrites-itself",
        STORE,
        "(not rescan or stored.scan_id == scan_id)",
        "not rescan",
        "A resumed rescan replaces its own results.",
    ),
    Defect(
        "rescan-changes-nothing",
        STORE,
        "(not rescan or stored.scan_id == scan_id)",
        "True",
        "A rescan asks the model about every image and keeps the old scores.",
    ),
    Defect(
        "failures-stand",
        STORE,
        "    return stored.outcome in SETTLED and ",
        "    return ",
        "An image that failed once is never stored as scored.",
    ),
    Defect(
        "another-scans-row-counts-as-ours",
        STORE,
        "    counts_as = stored.outcome if stored.scan_id == scan_id else Outcome.UNCHANGED\n",
        "    counts_as = stored.outcome\n",
        "Two scans of a bucket at a time both claim the same images: neither certificate holds.",
    ),
    Defect(
        "what-is-asked-is-what-counts",
        STORE,
        "    return WriteDecision(replaces=False, counts_as=counts_as)\n",
        "    return WriteDecision(replaces=False, counts_as=result.outcome)\n",
        "The certificate counts what was tried, not what is stored.",
    ),
    # ---- listing --------------------------------------------------------------------------------------------
    Defect(
        "listing-ends-at-a-known-page",
        LISTER,
        "            self.finished = page is None\n",
        "            self.finished = not page\n",
        "The listing ends at the first page on which everything is known: new images after it are never scored.",
    ),
    Defect(
        "last-page-forgotten",
        LISTING,
        "        yield new\n        if room is not None:\n",
        "        if not new:\n            break\n        yield new\n        if room is not None:\n",
        "The listing ends at the first page on which everything is known.",
    ),
    Defect(
        "unchanged-counted-as-listed-only",
        LISTING,
        "        tally.unchanged += len(inside) - len(new)\n",
        "        tally.unchanged += len(known) - len(known & set(identities[1:]))\n",
        "The nightly scan of a bucket that is known already never certifies.",
    ),
    Defect(
        "limit-off-by-one",
        LISTING,
        "            inside, identities, new = inside[:cut], identities[:cut], new[:room]\n",
        "            inside, identities, new = inside[:cut], identities[:cut], new[: room - 1]\n",
        "`--limit N` hands out N - 1 images and counts the last as unchanged.",
    ),
    # ---- certificate ----------------------------------------------------------------------------------------
    Defect(
        "certificate-ignores-failures",
        CERTIFICATE,
        "    return failed > error_budget * processed\n",
        "    return False\n",
        "A scan of which every image failed is certified.",
    ),
    Defect(
        "budget-off-by-one",
        CERTIFICATE,
        "    return failed > error_budget * processed\n",
        "    return failed >= error_budget * processed\n",
        "A scan that keeps its error budget to the image is refused, and so is an empty one.",
    ),
    Defect(
        "unchanged-forgotten",
        CERTIFICATE,
        "    outcomes[Outcome.UNCHANGED] += tally.unchanged\n",
        "    outcomes[Outcome.UNCHANGED] = tally.unchanged\n",
        "What another scan stored first is missing from the sum: a good scan is refused.",
    ),
    Defect(
        "earlier-rows-count",
        CERTIFICATE,
        "        found = stored.after.get(outcome, 0) - stored.before.get(outcome, 0)\n",
        "        found = stored.before.get(outcome, 0) - stored.after.get(outcome, 0)\n",
        "Every scan that scored anything is refused.",
    ),
    Defect(
        "counted-before-the-end",
        RUN,
        "        before = self._store.stored_outcomes(self._request.scan_id)\n"
        "        self._store.open(self._request, self._model.version)\n"
        "        error = self._dispatch()\n",
        "        self._store.open(self._request, self._model.version)\n"
        "        error = self._dispatch()\n"
        "        before = self._store.stored_outcomes(self._request.scan_id)\n",
        "Rows are compared with themselves: every scan that scored anything is refused.",
    ),
    Defect(
        "interruption-not-certified",
        CERTIFICATE,
        "        *([interruption] if interruption else ()),\n        *_arithmetic_problems(tally.listed, outcomes),\n",
        "",
        "A scan that was stopped half-way is certified.",
    ),
)
