"""Runs: which images, where records belong, whether the images at hand are those of the run."""
