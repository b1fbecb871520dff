"""How long the servers of a target have had problems, also those that crash and look well between two crashes."""

from __future__ import annotations

from sniffer_rollout.targets.target import Replicas


class Health:
    """Follows a target's servers from one look to the next. `recovery_s`: a problem is over after so long without one.

    Problems of servers that no machine has room for count only while none runs.
    """

    def __init__(self, recovery_s: float) -> None:
        self._recovery_s = recovery_s
        self._restarts: dict[str, int] = {}
        self._ill_since: float | None = None
        self._last_ill_at = 0.0
        self.crashes = 0
        """How often servers were started again since the first look."""

    def look(self, replicas: Replicas, now: float) -> float:
        """How long there have been problems, at a moment with one; 0 at any other."""
        crashes = sum(count - self._restarts.get(name, count) for name, count in replicas.restarts.items())
        self._restarts |= replicas.restarts
        self.crashes += max(0, crashes)
        is_ill = bool(replicas.problems) or crashes > 0 or (bool(replicas.unplaced) and not replicas.urls)
        if is_ill:
            self._last_ill_at = now
            self._ill_since = now if self._ill_since is None else self._ill_since
            return now - self._ill_since
        if not replicas.recovering and now - self._last_ill_at >= self._recovery_s:
            self._ill_since = None
        return 0.0
