"""Rows of numbers of attacks, made up, for tables and figures."""

from collections.abc import Iterator
from typing import Any

from evaluator.contracts import Score
from evaluator.tests.score_rows import score

PAPERS_SOURCE = "resnext50_32x4d"
EPSILONS = (0.01, 0.06)


def protocol_fields(protocol: str) -> dict[str, Any]:
    """The fields of a score that name a protocol of an attack."""
    kind, _, *image, name = protocol.split("-")
    own = {"paper": "first-hit", "standard": "last"}[name]
    handed = ("-".join(image) or own) if kind == "transfer" else None
    return {"protocol": protocol, "attack_protocol": name, "handed_image": handed}


def whitebox(protocol: str = "paper", **more: Any) -> Iterator[Score]:
    """Accuracy under attack is 0.5 less epsilon and a thousandth a step; unchanged 0.25 less."""
    facts = {**protocol_fields(f"whitebox-1-{protocol}"), "n": 25_000, "complete": True}
    epsilons, steps = more.pop("epsilons", EPSILONS), more.pop("steps", (10, 50))
    facts.update(more)
    yield score("whitebox", "clean_accuracy", 0.8, **facts)
    for epsilon in epsilons:
        for count in steps:
            of = {"restarts": 1, **facts, "epsilon": epsilon, "steps": count}
            value = 0.5 - epsilon - count / 1000
            ends = {"low": value - 0.01, "high": value + 0.02}
            yield score("whitebox", "accuracy_under_attack", value, **ends, **of)
            yield score("whitebox", "label_unchanged", value - 0.25, **of)


def transfer(protocol: str = "paper", source: str = PAPERS_SOURCE, **more: Any) -> Iterator[Score]:
    """Accuracy under attack is 0.7 less epsilon and a thousandth a step; unchanged 0.1 less.

    The source's own is ``weak`` (0.05) at all of them.
    """
    facts = {
        **protocol_fields(f"transfer-1-{protocol}"),
        "source_model": source,
        "n": 50_000,
        "complete": True,
    }
    epsilons, steps = more.pop("epsilons", EPSILONS), more.pop("steps", (10,))
    weak = more.pop("weak", 0.05)
    facts.update(more)
    yield score("transfer", "clean_accuracy", 0.75, **facts)
    yield score("transfer", "source_clean_accuracy", 0.77, **facts)
    for epsilon in epsilons:
        for count in steps:
            of = {"restarts": 1, **facts, "epsilon": epsilon, "steps": count}
            value = 0.7 - epsilon - count / 1000
            yield score("transfer", "accuracy_under_attack", value, **of)
            yield score("transfer", "label_unchanged", value - 0.1, **of)
            yield score("transfer", "source_accuracy", weak, **of)
