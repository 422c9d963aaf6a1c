"""Attacks that are interrupted after some of their shards."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from evaluator.attacks.pgd.attempts import AttemptResult
from evaluator.attacks.pgd.pgd import AttackJob, run_pgd


@contextmanager
def interrupted(
    monkeypatch: pytest.MonkeyPatch, *, after: int, shard_size: int | None = None
) -> Iterator[None]:
    """What is attacked within ends as by Ctrl-C, once so many shards were attacked.

    With ``shard_size`` runs that begin within have shards of that many images.
    """
    calls = iter(range(99))

    def impatient(job: AttackJob, *given: Any) -> Iterator[AttemptResult]:
        if next(calls) >= after:
            raise KeyboardInterrupt
        return run_pgd(job, *given)

    with monkeypatch.context() as patched:
        patched.setattr("evaluator.attacks.pgd.pgd.run_pgd", impatient)
        if shard_size is not None:
            patched.setattr("evaluator.workflow.runs.start.shard_size", lambda *_: shard_size)
        with pytest.raises(KeyboardInterrupt):
            yield
