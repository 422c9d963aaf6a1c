"""Fields of documents that a format got later."""

from collections.abc import Mapping

ADDED_LATER: Mapping[str, bool] = {"added later": True}
"""Metadata of a field that a format got later: documents leave it out while it has its default, so
that documents that were written before keep their hashes."""
