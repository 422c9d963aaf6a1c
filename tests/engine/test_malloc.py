"""Tuning malloc is asked for once and harmless."""

import sys

from evaluator.engine.malloc import keep_freed_memory


def test_it_says_whether_it_took() -> None:
    taken = keep_freed_memory()
    assert isinstance(taken, bool)
    assert keep_freed_memory() is taken
    if not sys.platform.startswith("linux"):
        assert not taken
