"""Where a rollout goes: a Kubernetes deployment or a local folder."""
