"""When an agreement counts as worse than it was, worked out by hand."""

from dataclasses import replace
from typing import Any

import pytest

from evaluator.contracts import Device, EngineSpec, Gate, ParityResult
from evaluator.engine.parity_regression import changes, regression_gates
from evaluator.errors import InputError

CPU = Device("cpu", "A processor", "x86_64 avx2")
BEFORE = ParityResult(
    model="resnet50",
    reference=EngineSpec("torch", "a" * 64),
    reference_device=CPU,
    candidate=EngineSpec("onnxruntime", "b" * 64, "fp16"),
    candidate_device=CPU,
    versions={"onnxruntime": "1.31.0"},
    images="100 photos",
    images_sha256="c" * 64,
    n=100,
    batch_size=4,
    gates=(
        Gate("all", 0.004, 0.015, True),
        Gate("worst image", 0.01, 0.06, True),
        Gate("worst class", 0.02, 0.1, True),
    ),
    agreement=0.99,
    agreement_low=0.946,
    agreement_high=0.998,
    kl=1e-5,
    flips=(),
    labelled=20,
    reference_correct=18,
    candidate_correct=18,
)


def now(**errors: float | None) -> ParityResult:
    """The same, with other errors, named with an underscore."""
    gates = [replace(g, value=errors.get(g.name.replace(" ", "_"), g.value)) for g in BEFORE.gates]
    return replace(BEFORE, gates=tuple(gates))


def failed(result: ParityResult, previous: ParityResult = BEFORE) -> list[str]:
    return [gate.name for gate in regression_gates(previous, result) if not gate.passed]


def test_the_same_result_is_not_worse() -> None:
    assert failed(BEFORE) == []


@pytest.mark.parametrize(
    ("errors", "worse"),
    [
        ({"all": 0.006}, []),
        ({"all": 0.0061}, ["all"]),
        ({"worst_image": 0.0151}, ["worst image"]),
        ({"worst_class": 0.031}, ["worst class"]),
        ({"all": None, "worst_image": None}, ["all", "worst image"]),
        ({"all": 0.0001}, []),
    ],
)
def test_an_error_may_grow_by_half_and_no_more(
    errors: dict[str, float | None], worse: list[str]
) -> None:
    # Each of these is far within the bounds of float16.
    assert failed(now(**errors)) == worse


def test_agreement_may_not_fall_below_its_old_interval() -> None:
    assert failed(replace(BEFORE, agreement=0.95)) == []
    assert failed(replace(BEFORE, agreement=0.94)) == ["disagreement"]


def test_growth_from_nothing_to_less_than_a_rounding_is_nothing() -> None:
    exact = now(all=0.0, worst_image=0.0, worst_class=0.0)
    assert failed(now(all=1e-7, worst_image=1e-7, worst_class=1e-7), exact) == []
    assert failed(now(all=1e-6, worst_image=0, worst_class=0), exact) == ["all"]


def test_what_changed_is_named() -> None:
    other = replace(
        BEFORE,
        candidate=replace(BEFORE.candidate, precision="bf16", model_sha256="d" * 64),
        versions={"onnxruntime": "1.32.0"},
    )
    assert list(changes(BEFORE, other)) == [
        "graph is bbbbbbbbbbbb... there, dddddddddddd... here",
        "precision is fp16 there, bf16 here",
        "versions.onnxruntime is 1.31.0 there, 1.32.0 here",
    ]


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"images_sha256": "d" * 64, "images": "20 photos"}, "other images \\(100 photos\\)"),
        ({"reference": EngineSpec("torch", "d" * 64)}, "other weights"),
    ],
)
def test_what_cannot_be_compared_is_refused(other: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        regression_gates(BEFORE, replace(BEFORE, **other))


@pytest.mark.parametrize("value", [None, "gone"])
def test_nothing_is_compared_with_what_was_not_finite(value: str | None) -> None:
    first, *others = BEFORE.gates
    gates = others if value else [replace(first, value=None), *others]
    with pytest.raises(InputError, match="no finite value of 'all'"):
        regression_gates(replace(BEFORE, gates=tuple(gates)), BEFORE)


def test_a_new_version_of_the_reference_is_a_change_too() -> None:
    before = replace(BEFORE, reference_versions={"torch": "2.14.1", "Pillow": "11.0"})
    now = replace(BEFORE, reference_versions={"torch": "2.15.0", "Pillow": "11.0"})
    assert list(changes(before, now)) == ["versions.torch is 2.14.1 there, 2.15.0 here"]
