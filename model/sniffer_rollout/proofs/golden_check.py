"""Golden examples, asked of a running server: does it compute what the trained model computed?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sniffer.adapters.serving import ModelServer
from sniffer.core.errors import ContractError
from sniffer.core.redaction import SecretUrl
from sniffer.core.rollout_records import GoldenDifferences
from sniffer_model.release.golden import GoldenExample
from sniffer_rollout.targets.open import serving_at


@dataclass(frozen=True, slots=True)
class GoldenLimits:
    """By how much a score may differ from the one it was published with.

    `pixels`: float32 sums differ in the fourth digit when they are added in another order or on a GPU. `encoded`, by
    `serving_default`: the server decodes JPEG itself, and another build of its decoder rounds differently.
    """

    pixels: float = 1e-3
    encoded: float = 2e-2


def check_golden(
    replica: SecretUrl, version: int, examples: Sequence[GoldenExample], limits: GoldenLimits, patience_s: float
) -> GoldenDifferences:
    """The largest differences, by signature.

    Raises ContractError for one above its limit, or for an answer that is not a score.
    """
    if not examples:
        raise ContractError(f"model version {version} was published without golden examples: export it again")
    with ModelServer(serving_at(replica, patience_s)) as server:
        server.check(version)
        pixels = server.predict(version, [example.image.pixels.tobytes() for example in examples])
        encoded = server.predict_encoded(version, [example.image.encoded for example in examples])
    return GoldenDifferences(
        _largest(replica, version, pixels, [e.score for e in examples], limits.pixels, "pixels"),
        _largest(replica, version, encoded, [e.encoded_score for e in examples], limits.encoded, "serving_default"),
    )


def _largest(
    replica: SecretUrl, version: int, scores: Sequence[float], expected: Sequence[float], limit: float, signature: str
) -> float:
    differences = [abs(score - wanted) for score, wanted in zip(scores, expected, strict=True)]
    worst = max(range(len(differences)), key=differences.__getitem__)
    if differences[worst] > limit:
        raise ContractError(
            f"model version {version} at {replica} scores golden example {worst} {scores[worst]:.4f} by {signature}, "
            f"not {expected[worst]:.4f} as when it was published (limit {limit:g}): it is not what was judged; "
            "export it again"
        )
    return differences[worst]
