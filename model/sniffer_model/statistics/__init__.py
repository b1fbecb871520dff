"""Figures of quality and the choice of a threshold. Pure functions of arrays."""
