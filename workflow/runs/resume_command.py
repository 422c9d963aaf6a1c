"""The command that scores what a run lacks."""

import shlex

from ...contracts import CONDITION_OPTIONS, EngineSpec, ModelSpec
from .scored_run import ScoredRun


def completing_command(one: ScoredRun) -> str:
    """The command that scores what is missing; what is there is not scored again."""
    run, spec = one.run, one.run.manifest.model
    made = one.records.provenance[0]
    words = ["evaluator", "score", spec.asked_as, run.key.benchmark]
    words += [word for path in made.data for word in ("--data", path)]
    if made.labels is not None:
        words += ["--labels", made.labels]
    words += ["--out", str(run.folder), "--engine", run.key.engine.backend]
    for key, option in CONDITION_OPTIONS.items():
        known = {dict(c.values)[key] for c in one.benchmark.conditions if key in dict(c.values)}
        values = list(dict.fromkeys(str(c[key]) for c in one.missing)) if known else []
        if values and len(values) < len(known):
            words += [option, ",".join(values)]
    if run.key.limit is not None:
        words += ["--limit", str(run.key.limit)]
    if one.skipped:
        words += ["--on-error", "skip"]
    return shlex.join([*words, *_model_options(spec, run.key.engine)])


def _model_options(spec: ModelSpec, kind: EngineSpec) -> list[str]:
    options = []
    if spec.weights.kind == "random":
        options += ["--weights", "random", "--seed", spec.weights.reference.split()[-1]]
    if spec.weights.kind == "file":
        options += ["--weights", spec.weights.reference]
    if kind.precision != "fp32":
        options += ["--precision", kind.precision]
    if kind.input_kind != "pixels":
        options += ["--input", kind.input_kind]
    if spec.preprocessing.crop_px != spec.trained_crop_px:
        options += ["--crop-px", str(spec.preprocessing.crop_px)]
    if spec.own is not None:
        options += ["--description", spec.own.description]
    if spec.class_order is not None:
        options += ["--classes", spec.class_order.path]
    return options
