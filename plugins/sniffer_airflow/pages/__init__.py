"""What the plugin shows in Airflow's UI."""
