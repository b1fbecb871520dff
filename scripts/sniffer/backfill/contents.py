"""How many different contents there are among billions of objects, in constant memory: distinct sampling.

After Gibbons, "Distinct Sampling for Highly-Accurate Answers to Distinct Values Queries", 2001: a content is kept when
its hash begins with so many zeros, and with one more whenever too many are kept. Few contents are counted exactly.
"""

from __future__ import annotations

import hashlib
import math

from sniffer.core.estimate_records import Span

MOST_KEPT = 65_536
"""Contents in the sample: the count of distinct ones is off by about 1 %, in about 10 MB."""
_HASH_BITS = 64
_DEVIATIONS = 2


class ContentSample:
    """Which contents, by ETag and size, are new, and which are known already: of a sample that is fair to each content.

    Equal ETags of equal size are taken for equal bytes: true of simple uploads, whose ETag is their MD5. Of uploads in
    parts, or encrypted by KMS, the same bytes may have several, so that there are at least so many duplicates.
    """

    def __init__(self, most_kept: int = MOST_KEPT) -> None:
        self._most_kept = most_kept
        self._zeros = 0
        self._is_known: dict[int, bool] = {}
        self._new = 0

    def add(self, etag: str, size_bytes: int, *, is_known: bool) -> None:
        """One object of that content; known: it has a score already, which others of the same bytes take over."""
        self._new += not is_known
        found = hashlib.blake2b(f"{size_bytes}\0{etag}".encode(), digest_size=_HASH_BITS // 8).digest()
        number = int.from_bytes(found, "big")
        if number >> (_HASH_BITS - self._zeros):
            return
        self._is_known[number] = is_known or self._is_known.get(number, False)
        while len(self._is_known) > self._most_kept:
            self._zeros += 1
            self._is_known = {
                kept: known for kept, known in self._is_known.items() if not kept >> (_HASH_BITS - self._zeros)
            }

    def duplicates(self) -> Span:
        """How many of the new objects have the content of another object, so that nobody has to score them."""
        kept = sum(not is_known for is_known in self._is_known.values())
        scale = 1 << self._zeros
        # Of D contents each is kept with the chance 1/scale.
        error = _DEVIATIONS * math.sqrt(kept * scale * (scale - 1))
        most = max(0, self._new - kept)
        return Span(
            max(0.0, min(most, self._new - kept * scale - error)),
            max(0.0, min(most, self._new - kept * scale)),
            max(0.0, min(most, self._new - kept * scale + error)),
        )
