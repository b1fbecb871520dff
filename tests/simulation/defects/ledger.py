"""Defects of the ledger."""

from __future__ import annotations

from simulation.defects.defect import Defect

LEDGER = "sniffer/scan/ledger.py"
HOLDINGS = "sniffer/scan/holdings.py"
DISPATCH = "sniffer/scan/dispatch.py"

DEFECTS = (
    Defect(
        "dead-images-dropped",
        LEDGER,
        "            self._suspects.append(entry)\n",
        "            pass\n",
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
        "            self._count(before, identity, -1)\n",
        "",
        "An image that failed and was scored after all counts as both.",
    ),
    Defect(
        "gone-stays-gone",
        LEDGER,
        "            if outcome in GIVEN_UP and",
        "            if outcome in GIVEN_UP - {Outcome.GONE} and",
        "The certificate says `gone` of an image that MySQL has a score for.",
    ),
    Defect(
        "settles-what-it-does-not-hold",
        LEDGER,
        "        if consumer is None or number not in consumer.owed:\n            return False\n"
        "        del consumer.owed[number]\n",
        "        if consumer is None:\n            return False\n        consumer.owed.pop(number, None)\n",
        "One bad consumer acknowledges images that nobody scored: the certificate is wrong.",
    ),
    Defect(
        "hands-back-what-others-hold",
        LEDGER,
        "            if self._holder.get(number) == name:\n                self._return(name, number)\n",
        "            if number in self._holder:\n                self._return(name, number)\n",
        "One bad consumer ends the scan with a stack trace: it hands back what another one holds.",
    ),
    Defect(
        "late-acknowledgement-ignored",
        LEDGER,
        "                queue.remove(entry)\n                return entry\n",
        "                return None\n",
        "What a stopped consumer scored is scored again by another: hours of GPU for nothing.",
    ),
    Defect(
        "waiting-image-acknowledged-and-kept",
        LEDGER,
        "                queue.remove(entry)\n                return entry\n",
        "                return entry\n",
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
        HOLDINGS,
        "DEATHS_BEFORE_FAILURE = 5",
        "DEATHS_BEFORE_FAILURE = 6",
        "One hostile image takes down one consumer more than the documents say.",
    ),
    Defect(
        "poison-never-ends",
        HOLDINGS,
        "        return self.lone_deaths >= DEATHS_BEFORE_FAILURE\n",
        "        return False\n",
        "One hostile image kills consumers for ever; the scan never ends.",
    ),
    Defect(
        "suspects-in-company",
        HOLDINGS,
        "        return self.deaths >= DEATHS_BEFORE_QUARANTINE and self.verdict is None\n",
        "        return False\n",
        "A hostile image that always has company kills consumers for ever; the scan never ends.",
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
        "        if self.ledger.awaits_hello(name):\n",
        "        if False:\n",
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
        "Images that were under way when a connection broke never come back: the scan stalls.",
    ),
    Defect(
        "expiry-ignored",
        LEDGER,
        "            if consumer.alive and now - consumer.last_heard > self._deadline_s\n",
        "            if consumer.alive and now - consumer.last_heard > 1e9\n",
        "The images of a machine that lost its power never come back.",
    ),
    Defect(
        "leaving-forgets-images",
        LEDGER,
        "            self.hand_back(name, list(self._consumers[name].held))\n",
        "",
        "A consumer that ends in good order takes along what it had not started.",
    ),
    Defect(
        "every-death-is-blamed",
        HOLDINGS,
        "        return self.lone_deaths >= DEATHS_BEFORE_FAILURE\n",
        "        return self.deaths >= 3\n",
        "Images that happened to be in the hands of consumers that were preempted are given up as `kills_consumers`.",
    ),
    Defect(
        "silence-is-blamed",
        DISPATCH,
        '{self._settings.consumer_deadline_s:g} s", blames=False)\n',
        '{self._settings.consumer_deadline_s:g} s", blames=True)\n',
        "Images in the hands of consumers that were frozen are handed out one at a time, at the end of the scan.",
    ),
)
