"""How much one scan of a shard does before it ends, so that no task runs for days, however wrong the plan was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sniffer.core.key_ranges import can_be_bound
from sniffer.core.settings import ShardSettings


@dataclass(frozen=True, slots=True)
class ShardBound:
    """Ends a listing of sorted keys after so many images, or so long after `began_at`, at the end of a page."""

    limits: ShardSettings
    clock: Callable[[], float]
    began_at: float

    def end(self, last_key: str, handed_out: int) -> str | None:
        """The key to end at, after a page that ends with that one; None: go on, also where no range can end."""
        is_full = handed_out >= self.limits.images or self.clock() - self.began_at >= self.limits.seconds
        return last_key if is_full and can_be_bound(last_key) else None
