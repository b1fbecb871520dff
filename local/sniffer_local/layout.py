"""Where the local stack keeps its things: names of folders and files below one root, `.local/` of the checkout."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from sniffer.core.model_records import MODEL_NAME

CHECKOUT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the stack keeps its things; `root` is absolute, by default `.local/` of the checkout."""

    root: Path

    @property
    def state(self) -> Path:
        """Ports and processes."""
        return self.root / "stack.json"

    @property
    def lock(self) -> Path:
        """Held by a running demo."""
        return self.root / "demo.lock"

    @property
    def supervision(self) -> Path:
        """What the supervisor says of each service."""
        return self.root / "supervisor.json"

    @property
    def logs(self) -> Path:
        """One file for each service and program."""
        return self.root / "logs"

    @property
    def s3(self) -> Path:
        """The objects of the local S3."""
        return self.root / "s3"

    @property
    def models(self) -> Path:
        """The published model versions."""
        return self.root / "models" / MODEL_NAME

    @property
    def serving(self) -> Path:
        """What the model server has to serve."""
        return self.root / "serving"

    @property
    def truth(self) -> Path:
        """What the sample images show."""
        return self.root / "sample-truth.json"

    @property
    def published(self) -> Path:
        """Up to which decision labels were published."""
        return self.root / "published-decision"

    @property
    def training(self) -> Path:
        """Training runs, cached features."""
        return self.root / "training"


def add_root_flag(parser: argparse.ArgumentParser) -> None:
    """Let the user put the stack somewhere else than in `.local/`."""
    parser.add_argument(
        "--root",
        type=lambda text: Path(text).resolve(),
        default=CHECKOUT / ".local",
        metavar="DIR",
        help="folder of the stack's data, ports and processes (default: .local/ of the checkout)",
    )
