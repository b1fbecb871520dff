"""Training: the backbone, its features, the head."""
