"""Keys of plans that tests make."""

from typing import Any

from evaluator.engine.plans.builder import NETWORK_FLAGS
from evaluator.engine.plans.plan import PlanKey, Profile


def plan_key(**changes: Any) -> PlanKey:
    """A key of a small float32 plan, with some values changed."""
    values: dict[str, Any] = {
        "model_sha256": "0" * 64,
        "backend": "tensorrt-rtx",
        "version": "1",
        "precision": "fp32",
        "input_kind": "pixels",
        "tf32": False,
        "profile": Profile(best=4, largest=8),
        "flags": NETWORK_FLAGS,
        "target": "",
        "device": "",
        "compute_capability": "",
        "driver": "",
    }
    return PlanKey(**{**values, **changes})
