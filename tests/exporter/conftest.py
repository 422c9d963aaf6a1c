"""What tests of the exporter share."""

import pytest

from evaluator.tests.small import small_row


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a small model of the zoo."""
    return small_row(monkeypatch)
