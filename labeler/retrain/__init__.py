"""Decisions in, a better model out: evaluation, model versions, export."""
