"""Defects of what is stored, listed and certified."""

from __future__ import annotations

from simulation.defects.defect import Defect

LISTING = "sniffer/scan/listing.py"
LISTER = "sniffer/scan/lister.py"
CERTIFICATE = "sniffer/scan/certificate.py"
RUN = "sniffer/scan/run.py"
STORE = "sniffer/adapters/mysql/decisions.py"

DEFECTS = (
    Defect(
        "overwritten-by-a-late-duplicate",
        STORE,
        "    if before is not None and (before.outcome not in _UPGRADED",
        "    stands = stands and before is None\n    if before is not None and (before.outcome is Outcome.UNCHANGED",
        "A result that reviewers have seen is replaced by a late duplicate, or by a failure.",
    ),
    Defect(
        "rescan-overwrites-itself",
        STORE,
        "(not rescan or ours)",
        "not rescan",
        "A resumed rescan replaces its own results.",
    ),
    Defect(
        "rescan-changes-nothing",
        STORE,
        "(not rescan or ours)",
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
        ' if ours else Counted(token, Outcome.UNCHANGED, "")\n',
        "\n",
        "Two scans of a bucket at a time both claim the same images: neither certificate holds.",
    ),
    Defect(
        "what-is-asked-is-what-counts",
        STORE,
        "        return WriteDecision(replaces=False, counts=counts, counted_before=before, counted_for=counts)\n",
        "        return WriteDecision(replaces=False, counts=new, counted_before=before, counted_for=counts)\n",
        "The certificate counts what was tried, not what is stored.",
    ),
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
        "        token = self._store.open(self._request, self._model.version, self._model.threshold)\n"
        "        error = self._dispatch(token)\n",
        "        token = self._store.open(self._request, self._model.version, self._model.threshold)\n"
        "        error = self._dispatch(token)\n"
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
