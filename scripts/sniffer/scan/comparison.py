"""What was acknowledged, compared with what MySQL holds: memory is not proof. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sniffer.core.records import GIVEN_UP, ListingDigest, Outcome, OutcomeTally


@dataclass(frozen=True, slots=True)
class CountedImages:
    """So many images, and the sum of their identities modulo 2**256."""

    images: int
    digest: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """How the images of a run count, and what speaks against it."""

    counts: Mapping[Outcome, int]
    problems: tuple[str, ...] = ()


def acknowledged(
    counts: Mapping[Outcome, int], digests: Mapping[Outcome, ListingDigest]
) -> dict[Outcome, CountedImages]:
    """What the consumers have acknowledged, by outcome."""
    return {outcome: CountedImages(counts.get(outcome, 0), digests[outcome].value) for outcome in Outcome}


def committed(tallies: tuple[OutcomeTally, ...]) -> dict[Outcome, CountedImages]:
    """What MySQL holds of the run, by outcome."""
    return {
        outcome: _sum(CountedImages(t.images, t.digest) for t in tallies if t.outcome is outcome) for outcome in Outcome
    }


def compare(
    heard: Mapping[Outcome, CountedImages], held: Mapping[Outcome, CountedImages], *, complete: bool
) -> Comparison:
    """Compare both, image by image by their digests, for every outcome.

    An image that was acknowledged as failed, and scored after all by a consumer whose acknowledgement was lost, counts
    as MySQL has it. Of a scan that ended early, acknowledgements may be missing: nothing acknowledged may be, in MySQL.
    """
    counts = {outcome: counted.images for outcome, counted in heard.items()}
    if not complete:
        return Comparison(counts, _missing(_sum(heard.values()), _sum(held.values())))
    if heard == held:
        return Comparison(counts)
    if _sum(heard.values()) == _sum(held.values()) and all(_only_upgraded(o, heard[o], held[o]) for o in Outcome):
        return Comparison({outcome: counted.images for outcome, counted in held.items()})
    return Comparison(counts, tuple(_difference(o, heard[o], held[o]) for o in Outcome if heard[o] != held[o]))


def _only_upgraded(outcome: Outcome, heard: CountedImages, held: CountedImages) -> bool:
    return held.images <= heard.images if outcome in GIVEN_UP else held.images >= heard.images


def _missing(heard: CountedImages, held: CountedImages) -> tuple[str, ...]:
    if held.images < heard.images:
        return (f"{heard.images} images were acknowledged, but MySQL holds {held.images} of them",)
    return ("not every image has an outcome, so what was acknowledged was compared with MySQL by number only",)


def _difference(outcome: Outcome, heard: CountedImages, held: CountedImages) -> str:
    if heard.images == held.images:
        return f"{heard.images} images were acknowledged as {outcome}, but MySQL holds other ones"
    return f"{heard.images} images were acknowledged as {outcome}, but MySQL holds {held.images}"


def _sum(parts: Iterable[CountedImages]) -> CountedImages:
    parts = tuple(parts)
    return CountedImages(sum(part.images for part in parts), sum(part.digest for part in parts) % (1 << 256))
