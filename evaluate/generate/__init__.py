"""Generated data: sample photos, and corruptions and perturbations of a user's own photos.

They are not published benchmarks: corrupted and perturbed data carry a ``generated.json``, and
every number that comes from them is marked.
"""
