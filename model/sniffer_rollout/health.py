"""How long the servers of a target have had problems, also those that crash and look well between two crashes."""

from __future__ import annotations

from collections.abc import Mapping

from sniffer_rollout.targets.target import Replicas

_LOOP_RECOVERY_S = 600.0
"""After so long without a crash a kubelet, too, takes a container that crashed again and again for a well one."""
_LOOP = 2
"""So many crashes of one server are a crash loop."""


class Health:
    """Follows a target's servers from one look to the next. `recovery_s`: a problem is over after so long without one.

    Crash loops take longer to be over: the pause between two crashes may be longer than `recovery_s`. Problems of
    servers that no machine has room for count only while none runs.
    """

    def __init__(self, recovery_s: float) -> None:
        self._recovery_s = recovery_s
        self._restarts: dict[str, int] = {}
        self._crashes_of: dict[str, int] = {}
        self._ill_since: float | None = None
        self._last_ill_at = 0.0
        self.crashes = 0
        """How often servers were started again since the first look."""

    def look(self, replicas: Replicas, now: float) -> float:
        """How long there have been problems, at a moment with one; 0 at any other."""
        crashes = self._crashes_since(replicas.restarts)
        self.crashes += crashes
        is_ill = bool(replicas.problems) or crashes > 0 or (bool(replicas.unplaced) and not replicas.urls)
        if is_ill:
            self._last_ill_at = now
            self._ill_since = now if self._ill_since is None else self._ill_since
            return now - self._ill_since
        well_s = 0.0 if replicas.recovering else now - self._last_ill_at
        if well_s >= self._needed_s():
            self._ill_since = None
        if well_s >= _LOOP_RECOVERY_S:
            self._crashes_of.clear()
        return 0.0

    def _crashes_since(self, restarts: Mapping[str, int]) -> int:
        """How many crashes there were since the last look; servers seen for the first time have none."""
        new = {name: max(0, count - self._restarts.get(name, count)) for name, count in restarts.items()}
        self._restarts |= restarts
        for name, count in new.items():
            self._crashes_of[name] = self._crashes_of.get(name, 0) + count
        return sum(new.values())

    def _needed_s(self) -> float:
        """How long the servers must be well until they are taken for well."""
        loops = max(self._crashes_of.values(), default=0) >= _LOOP
        return max(self._recovery_s, _LOOP_RECOVERY_S) if loops else self._recovery_s
