"""The protocols as they are published, and what is refused."""

import json
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from evaluator.attacks.protocols import attack_settings, check_epsilon, find_protocol
from evaluator.attacks.records import SCHEMA
from evaluator.contracts import (
    MOST_ATTEMPTS,
    PRINTED_STEP,
    SMALLEST_FLOAT32,
    AttackSettings,
    ProtocolName,
    TransferredImage,
    protocol_name,
)
from evaluator.errors import InputError
from evaluator.evaluate.benchmarks.transfer import TRANSFER
from evaluator.evaluate.benchmarks.whitebox import WHITEBOX
from evaluator.storage.documents import canonical_bytes, document_from_bytes, document_sha256
from evaluator.tests.small import one_line
from evaluator.workflow.runs.attack_scores import protocol_fields


def test_the_papers_protocol_is_its_code() -> None:
    # evaluate_whitebox.py of eminorhan/resnext-wsl; foolbox 1.8 does not clip the start.
    settings = attack_settings("paper")
    assert settings.step_size == 2 / 255
    assert settings.targeted
    assert settings.success == "targeted"
    assert not settings.clip_start
    assert settings.losses == ("cross_entropy",)
    assert settings.restarts == 1
    assert settings.steps == (10, 20, 30, 40, 50)
    assert find_protocol("paper").epsilons == (0.01, 0.02, 0.04, 0.06, 0.08, 0.1)
    assert attack_settings("paper", step_size=PRINTED_STEP).step_px(0.06) == 2 / 225


def test_the_standard_protocol_is_what_is_expected_today() -> None:
    settings = attack_settings("standard")
    assert not settings.targeted
    assert settings.success == "untargeted"
    assert settings.clip_start
    assert settings.losses == ("cross_entropy", "dlr")
    assert settings.steps == (50,)
    assert settings.restarts == 5
    assert settings.attempts == 10
    assert settings.step_px(8 / 255) == pytest.approx(2.5 * 8 / 255 / 50)
    assert find_protocol("standard").epsilons == (4 / 255, 8 / 255)


def test_every_choice_can_be_made_otherwise() -> None:
    choices: dict[str, Any] = {
        "losses": ["dlr"],
        "steps": [7, 9],
        "success": "untargeted",
        "targeted": False,
        "step_size": 0.01,
        "restarts": 3,
        "clip_start": True,
        "relative_epsilon": True,
        "seed": 5,
        "traced": 7,
        "attack_wrong": True,
    }
    for protocol in ("paper", "standard"):
        settings = attack_settings(protocol, **choices)
        for name, value in choices.items():
            assert getattr(settings, name) == (tuple(value) if isinstance(value, list) else value)
        assert settings.relative_step is None
    assert attack_settings("paper", relative_step=2.0, steps=(10,)).step_size is None
    assert attack_settings("paper", seed=None, steps=None) == attack_settings("paper")


def test_settings_are_a_document() -> None:
    for protocol in ("paper", "standard"):
        settings = attack_settings(protocol, seed=3)
        data = canonical_bytes(settings)
        assert json.loads(data)["norm"] == "linf"
        assert document_from_bytes(data, AttackSettings, "run.json") == settings
    broken = canonical_bytes(attack_settings("paper")).replace(b'"target"', b'"tarjet"')
    with pytest.raises(InputError, match="success"):
        document_from_bytes(broken, AttackSettings, "run.json")


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"steps": ()}, "No steps"),
        ({"steps": (0, 10)}, "0, 10 steps: expected counts of at least 1"),
        ({"steps": (-5,)}, "-5 steps"),
        ({"steps": (10, 10)}, "10, 10 steps: expected each count once, in ascending order"),
        ({"steps": (20, 10)}, "20, 10 steps: expected each count once, in ascending order"),
        ({"restarts": 0}, "0 restarts: expected at least 1"),
        ({"restarts": 2**15 + 1}, "32769 restarts: expected at most 32768, the attempts"),
        ({"traced": -1}, "-1 traced images"),
        ({"steps": 10}, "steps=10 is not a list: expected one, such as [10]"),
        ({"steps": "10"}, "steps='10' is not a list"),
        ({"steps": (10.5,)}, "10.5 steps: expected whole numbers"),
        ({"step_size": 1e-320}, "A step of 9.99989e-321: expected one between 1.18e-38 and"),
        ({"step_size": 1e39}, "A step of 1e+39: expected one between"),
        ({"relative_step": 1e-320, "steps": (10,)}, "A step of 9.99989e-321: expected one"),
        ({"step_size": 0.0}, "A step of 0: expected a positive number"),
        ({"step_size": float("nan")}, "A step of nan"),
        ({"relative_step": -2.5, "steps": (10,)}, "A step of -2.5"),
        ({"step_size": 0.1, "relative_step": 2.5}, "A step has one size"),
        (
            {"relative_step": 2.5},
            "10, 20, 30, 40, 50 steps are different attacks if the step size depends",
        ),
        ({"losses": ()}, "Losses No: expected at least one, and each once"),
        ({"losses": ("cross_entropy",) * 2}, "expected at least one, and each once"),
        ({"losses": ("hinge",)}, "Unknown loss 'hinge': expected cross_entropy or dlr"),
        ({"losses": ("dlr",)}, "The loss dlr is untargeted"),
        ({"success": "never"}, "Unknown success 'never'"),
        ({"targeted": False}, "An untargeted attack has no target to reach"),
    ],
)
def test_what_no_attack_can_be_is_refused_in_one_line(choices: Any, message: str) -> None:
    with pytest.raises(InputError) as caught:
        attack_settings("paper", **choices)
    assert message in one_line(caught)


def test_attempts_are_as_many_as_their_records_can_count() -> None:
    settings = attack_settings("standard", restarts=2**14)
    assert settings.attempts == MOST_ATTEMPTS
    for column in ("attempt", "restart"):
        pa.array([MOST_ATTEMPTS - 1], SCHEMA.field(column).type)
        with pytest.raises(pa.ArrowInvalid):
            pa.array([MOST_ATTEMPTS], SCHEMA.field(column).type)
    with pytest.raises(InputError, match="16385 restarts: expected at most 16384"):
        attack_settings("standard", restarts=2**14 + 1)


@pytest.mark.parametrize("epsilon", [1e-320, 1e-38])
def test_an_epsilon_that_float32_does_not_hold_is_refused(epsilon: float) -> None:
    check_epsilon(SMALLEST_FLOAT32)
    with pytest.raises(InputError, match=r"An epsilon of \S+ is below 1\.18e-38") as caught:
        check_epsilon(epsilon)
    assert one_line(caught)


@pytest.mark.parametrize("epsilon", ["8/255", None, 1j])
def test_an_epsilon_that_is_no_number_is_refused(epsilon: Any) -> None:
    with pytest.raises(InputError, match="is not a number") as caught:
        check_epsilon(epsilon)
    assert one_line(caught)


def test_an_unknown_protocol_is_answered_with_a_near_one() -> None:
    with pytest.raises(InputError, match=r"or standard\. Did you mean paper\?") as told:
        attack_settings("papr")
    one_line(told)


@pytest.mark.parametrize("epsilon", [8 / 255, 1.0, 1e-9])
def test_epsilons_that_are_some_pass(epsilon: float) -> None:
    check_epsilon(epsilon)


@pytest.mark.parametrize("epsilon", [0.0, -1.0, 1.001, 8.0, float("nan"), float("inf")])
def test_epsilons_that_are_none_are_refused(epsilon: float) -> None:
    with pytest.raises(InputError, match=r"outside \(0, 1\].*8/255") as caught:
        check_epsilon(epsilon)
    one_line(caught)


@pytest.mark.parametrize(
    ("text", "kind", "handed_image", "name"),
    [
        ("whitebox-1-paper", "whitebox", None, "paper"),
        ("whitebox-1-standard", "whitebox", None, "standard"),
        ("transfer-1-paper", "transfer", "first-hit", "paper"),
        ("transfer-1-last-paper", "transfer", "last", "paper"),
        ("transfer-1-standard", "transfer", "last", "standard"),
        ("transfer-1-first-hit-standard", "transfer", "first-hit", "standard"),
    ],
)
def test_a_score_has_the_protocol_that_the_run_is_named_by(
    text: str, kind: str, handed_image: TransferredImage | None, name: ProtocolName
) -> None:
    assert protocol_name(kind, name, handed_image) == text
    benchmark = {"whitebox": WHITEBOX, "transfer": TRANSFER}[kind]
    assert text.startswith(f"{benchmark.protocol}-")
    source = SimpleNamespace(image=handed_image)
    key = SimpleNamespace(
        benchmark=kind, protocol=text, attack=attack_settings(name), transfer=source
    )
    run: Any = SimpleNamespace(key=key)
    assert protocol_fields(run) == {"attack_protocol": name, "handed_image": handed_image}
    for unknown in ("whitebox-1-anything", "whitebox-2-paper", "imagenet-1"):
        key.protocol = unknown
        assert protocol_fields(run) == {}


@pytest.mark.parametrize(
    ("name", "stop", "sha256"),
    [
        ("paper", "target", "7d2574eaa92a27dbde7baef351ecc8c638217028c700dfcde99cb8756c74c032"),
        ("standard", "label", "d1c05c4584c766baf5fda66b6e97c379c95bdf3ec68825a5d302cea175387d0e"),
    ],
)
def test_runs_store_the_success_as_version_0_1_0_did(name: str, stop: str, sha256: str) -> None:
    settings = attack_settings(name)
    stored = canonical_bytes(settings)
    assert json.loads(stored)["stop"] == stop
    assert "success" not in json.loads(stored)
    assert document_sha256(settings) == sha256
    assert document_from_bytes(stored, AttackSettings, "the run") == settings
