"""Rules that the numbers of runs must meet before a model is released."""
