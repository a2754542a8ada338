"""Vectors and decisions in, an order out: features, head, strategies."""
