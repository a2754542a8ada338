"""The loop itself: propose, review, commit, retrain, evaluate, and going on after a crash."""

from labeler.rounds.engine import Workspace

__all__ = ["Workspace"]
