"""The rollout: a published model version comes into TensorFlow Serving, and the one that serves is never broken."""
