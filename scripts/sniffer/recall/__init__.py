"""Measured recall: which images to audit, and what their labels say of the model in production."""
