"""Weights: reading checkpoints, and loading them into networks."""
