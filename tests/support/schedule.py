"""In which order the tests run, and which of them in one worker, where pytest works with several (`make test`)."""

from __future__ import annotations

from xdist.scheduler import LoadFileScheduling
from xdist.workermanage import WorkerController

ONE_WORKER = ("tests/rollout/", "tests/serve/", ("tests/dags/", "tests/plugins/"))
"""Folders whose files share something that takes seconds to start: model servers, or Airflow and its database."""

FIRST = (
    "tests/model/evaluation/",  # makes the trained model that the next ones read
    "tests/rollout/",
    "tests/dags/",
    "tests/plugins/",
    "tests/scripts/scan/",
    "tests/scripts/adapters/test_s3",
    "tests/model/training/",
    "tests/model/export/",
    "tests/model/gate/",
    "tests/simulation/",
    "tests/serve/",
    "tests/local/",
    "tests/packaging/",
    "tests/model/",
    "tests/scripts/",
)
"""The longest first, and those that wait beside those that compute: at the end no worker waits alone."""


def rank(path: str) -> int:
    """Sorts files by their paths: the folders of FIRST, then the rest."""
    return next((number for number, folder in enumerate(FIRST) if path.startswith(folder)), len(FIRST))


class ByFolder(LoadFileScheduling):  # type: ignore[misc] # xdist is not typed
    """Gives each worker a file at a time, or all the files of folders that share something, in the order collected."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return next((str(folders) for folders in ONE_WORKER if file.startswith(folders)), file)

    def remove_node(self, node: WorkerController) -> str | None:
        """Give the rest of a worker that has died to others, but not the test that it died of, which would kill all."""
        units = self.assigned_work.pop(node)
        left = [(unit, test) for unit in units.values() for test, is_done in unit.items() if not is_done]
        if not left:
            return None
        unit, died_of = left[0]
        unit[died_of] = True
        self.workqueue.update({scope: unit for scope, unit in units.items() if not all(unit.values())})
        for other in self.assigned_work:
            self._reschedule(other)
        return str(died_of)
