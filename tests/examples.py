"""How many examples hypothesis draws: few in ``make test``, ten times as many in ``.ci/run``."""

import hypothesis

FAST, THOROUGH = 25, 250
"""Of a test that does not say how many it needs."""


def examples(fast: int) -> int:
    """For a test that needs another number in ``make test``: ``@settings(max_examples=...)``.

    Ten times as many with ``--hypothesis-profile thorough``.
    """
    return fast * hypothesis.settings().max_examples // FAST
