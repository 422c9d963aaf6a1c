"""Data made on the spot: sample photos, and corruptions of a user's own images.

Nothing made here is a published benchmark: every tree carries a ``generated.json``, and every
number that comes from one is marked.
"""
