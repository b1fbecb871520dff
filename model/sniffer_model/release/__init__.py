"""What a published model version is made of, and where it is kept."""
