"""Takes any flags of a training program, hands on what STAND_IN_RESULTS holds for it, with its flags as `argv`."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path


def run(program: str) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--result", type=Path, required=True)
    flags, others = parser.parse_known_args()
    results = json.loads(os.environ["STAND_IN_RESULTS"])
    if program not in results:
        print(f"{program}: there is nothing to read", file=sys.stderr)
        return 2
    flags.result.write_text(json.dumps({"argv": others, **results[program]}))
    return 0
