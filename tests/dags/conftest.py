"""The private Airflow, which must have its home before anything imports Airflow."""

from __future__ import annotations

from importlib.util import find_spec

from support.airflow_home import airflow_database

# A whole Airflow over PostgreSQL, and a training: `pip install .[airflow]` brings neither.
collect_ignore = [] if find_spec("psycopg2") and find_spec("tensorflow") else ["test_killed_runs.py"]

__all__ = ["airflow_database"]
