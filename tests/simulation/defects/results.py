"""Defects of what is stored, listed and certified."""

from __future__ import annotations

from simulation.defects.defect import Defect

LISTING = "sniffer/scan/listing.py"
LISTER = "sniffer/scan/lister.py"
CERTIFICATE = "sniffer/scan/certificate.py"
STORE = "sniffer/adapters/mysql/decisions.py"
RUNS = "sniffer/adapters/mysql/runs.py"
COMPARISON = "sniffer/scan/comparison.py"
LEASE = "sniffer/scan/lease.py"

DEFECTS = (
    Defect(
        "overwritten-by-a-late-duplicate",
        STORE,
        "    if before is not None and (before.outcome not in GIVEN_UP",
        "    stands = stands and before is None\n    if before is not None and (before.outcome is Outcome.UNCHANGED",
        "A result that reviewers have seen is replaced by a late duplicate, or by a failure.",
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
        "        yield new\n        handed_out += len(new)\n",
        "        if not new:\n            break\n        yield new\n        handed_out += len(new)\n",
        "The listing ends at the first page on which everything is known.",
    ),
    Defect(
        "unchanged-counted-as-listed-only",
        LISTING,
        "        tally.unchanged += sum(identity in known for identity in identities)\n",
        "        tally.unchanged += sum(identity in known for identity in identities[1:])\n",
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
        "    return count > budget * listed\n",
        "    return False\n",
        "A scan of which every image failed is certified.",
    ),
    Defect(
        "budget-off-by-one",
        CERTIFICATE,
        "    return count > budget * listed\n",
        "    return count >= budget * listed\n",
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
        "tallies-not-compared",
        COMPARISON,
        "    if heard == held:\n",
        "    if heard:\n",
        "A commit that a fail-over lost is certified: those images have no row.",
    ),
    Defect(
        "old-run-writes",
        RUNS,
        "    if newest != ours:\n",
        "    if newest < ours:\n",
        "An abandoned run writes `incomplete` over the certificate of the run that has completed.",
    ),
    Defect(
        "lease-ignored",
        RUNS,
        "lease.holder != holder and lease.left_s > 0:\n",
        "lease.holder != holder and lease.left_s > 3600:\n",
        "Two runs of a scan fight over it, each of them fencing the other off.",
    ),
    Defect(
        "lease-never-renewed",
        LEASE,
        "            self._renewal = self._executor.submit(self._renew, token, self.lease_s)\n",
        "            pass\n",
        "A scan loses its lease after half a minute, and with it the protection from a second run of it.",
    ),
    Defect(
        "lease-never-waited-out",
        LEASE,
        "            if known is None or waited_s < DYING_S:\n",
        "            raise\n            if known is None or waited_s < DYING_S:\n",
        "A scan that was killed cannot be run again for half a minute: Airflow's retries fail.",
    ),
)
