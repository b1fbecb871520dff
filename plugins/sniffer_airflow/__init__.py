"""How Airflow acts: operators that run our programs, and the names DAGs share."""
