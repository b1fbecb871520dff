"""Trigger forms: their fields, and the checks of what runs and Variables say."""
