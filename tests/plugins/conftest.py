"""The private Airflow of airflow_home.py, loaded once whichever folder is collected first."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

_NAME = "airflow_home"
if _NAME not in sys.modules:
    _spec = importlib.util.spec_from_file_location(_NAME, Path(__file__).parents[1] / "plugins" / f"{_NAME}.py")
    assert _spec is not None and _spec.loader is not None
    sys.modules[_NAME] = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules[_NAME])

airflow_database = sys.modules[_NAME].airflow_database
