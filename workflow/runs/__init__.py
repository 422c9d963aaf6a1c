"""Runs: which images they cover, how they are started and resumed, and how they are read."""
