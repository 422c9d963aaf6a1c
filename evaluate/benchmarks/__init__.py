"""A module for each benchmark, the table of them, and how their records become scores."""
