"""Who is told, by webhook and e-mail, that a run has failed, or that a scan of the schedule is late."""
