"""The real decoder process, but as the user nobody, for whom every limit holds."""

from __future__ import annotations

import os
import sys

from sniffer.adapters.images.preload import preload
from sniffer.decoding import child

NOBODY = 65534

if __name__ == "__main__":
    preload()  # nobody may not be able to read the packages
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    sys.exit(child.main(sys.argv[1:]))
