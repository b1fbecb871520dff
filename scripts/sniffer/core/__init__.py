"""What every program stands on: errors, records, settings, files, logs. Imports nothing else of ours."""
