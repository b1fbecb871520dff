"""Defects of the two loops: dispatch, consumer and scorer."""

from __future__ import annotations

from simulation.defects.defect import Defect

DISPATCH = "sniffer/scan/dispatch.py"
CONSUMER = "sniffer/scan/consumer.py"
SCORE = "sniffer/scan/score.py"
CAGED = "sniffer/decoding/caged.py"

IMPORT = "            from sniffer.core.errors import ContractError\n"

DEFECTS = (
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
        "            self._refuse(name, message.reason)\n            return\n        if isinstance(message, Hello):\n",
        f"{IMPORT}            raise ContractError(message.reason)\n        if isinstance(message, Hello):\n",
        "During an upgrade, one old consumer that connects ends the scan.",
    ),
    Defect(
        "fatal-is-believed",
        DISPATCH,
        "            self._recheck.ask()\n",
        f"{IMPORT}            raise ContractError(bye.error)\n",
        "One bad consumer ends the scan of forty million images by one word.",
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
        "        credit = max(0, 2 * self._settings.batch_size - len(self._batch) - len(self._inbox))\n",
        "        credit = 2 * self._settings.batch_size\n",
        "After each rerun a consumer holds one batch more than its memory is for.",
    ),
    Defect(
        "inbox-outlives-the-session",
        CONSUMER,
        "        self._clear_inbox()\n        self._on_welcome(welcome)\n",
        "        self._on_welcome(welcome)\n",
        "After a rerun a consumer scores what the first run sent it, and nobody counts it.",
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
        "        for content, picture in pictures.items():\n            own",
        "        for content, picture in sorted(pictures.items(), key=lambda pair: pair[0]):\n            own",
        "Images get each other's scores: innocent ones are flagged, others pass.",
    ),
    Defect(
        "unreadable-by-neighbour",
        SCORE,
        "        if content in refused:\n",
        "        if refused:\n            content = next(iter(refused))\n",
        "A broken image in a batch makes all its other images unreadable.",
    ),
    Defect(
        "hash-of-another",
        SCORE,
        "        return Result(work.image, outcome, score.value, content, ",
        "        return Result(work.image, outcome, score.value, min(scores), ",
        "Scores are found again for bytes that were never scored.",
    ),
    Defect(
        "decoder-not-replaced",
        CAGED,
        "        self._decoder.close()\n        self._decoder = self._start()\n",
        "        self._decoder.close()\n",
        "After one hostile image every other one of that consumer is reported as one that crashes the decoder.",
    ),
    Defect(
        "decoders-death-is-the-images-fault",
        CAGED,
        "        if attempt == ATTEMPTS:\n",
        "        if attempt:\n",
        "A decoder that somebody kills makes the image in its hands unreadable for good.",
    ),
    Defect(
        "crashes-never-judged",
        CAGED,
        "        if attempt == ATTEMPTS:\n",
        "        if attempt < 0:\n",
        "One hostile image is tried again and again, for all of its CPU seconds.",
    ),
)
