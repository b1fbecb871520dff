"""The private Airflow, which must have its home before anything imports Airflow."""

from __future__ import annotations

from support.airflow_home import airflow_database

__all__ = ["airflow_database"]
