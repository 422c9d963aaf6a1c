"""A user's network is what it answers: another one shares neither bundle, run nor row."""

import json
import shutil
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import evaluator
from evaluator.contracts import NetworkFingerprint, NullProgress, Run, RunManifest
from evaluator.errors import InputError, RunMismatchError, SelfCheckError
from evaluator.evaluate.benchmarks.imagenet import IMAGENET
from evaluator.records.reading import read_run
from evaluator.records.run import MANIFEST, open_run
from evaluator.records.shards import read_provenance, shards_of
from evaluator.storage.documents import plain, read_document, sealed, write_document
from evaluator.tests.command_line import error_of, run
from evaluator.tests.user_networks import UserCode, users_code
from evaluator.workflow.models.bundles import ensure_bundle

NETWORKS = """
import importlib, json, os
from pathlib import Path

HERE = Path(__file__).parent

class Scaled(Net):
    def __init__(self, factor=1.0):
        super().__init__()
        self.factor = factor

    def features(self, x):
        return super().features(x) * self.factor

def from_file():
    return Scaled(json.loads((HERE / "config.json").read_text())["factor"])

def from_environment():
    return Scaled(float(os.environ.get("FACTOR", 1)))

class Wrapped(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = torch.jit.load(HERE / "program.pt")

    def forward(self, x):
        return self.net(x)

def script():
    return torch.jit.load(HERE / "program.pt")

class Calls(Net):
    def forward(self, x):
        return helper.change(super().forward(x))

def calls_helper():
    global helper
    helper = importlib.import_module(Path(HERE, "helper.txt").read_text())
    return Calls()

class Dropout(Net):
    def forward(self, x):
        return super().forward(F.dropout(x, 0.3))
"""

Score = Callable[..., Run]


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> UserCode:
    return users_code(tmp_path, monkeypatch, NETWORKS)


@pytest.fixture
def score(code: UserCode, three_photos: Path) -> Score:
    def scored(name: str, out: str | None, **more: Any) -> Run:
        options = {"engine": "torch", "device": "cpu", "description": code.description, **more}
        folder = None if out is None else code.folder / out
        return evaluator.score(code.factory(name), "imagenet", three_photos, out=folder, **options)

    return scored


def classes(run: Run) -> list[int]:
    (table,) = read_run(run, IMAGENET.conditions).finished.values()
    return [row["top5"][0] for row in table.to_pylist()]


class Program(nn.Module):
    """Its tensors are the same for every factor."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.conv, self.head, self.factor = nn.Conv2d(3, 8, 8, 4), nn.Linear(8 * 49, 1000), factor
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.1, generator=torch.Generator().manual_seed(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.conv(x).flatten(1)) * self.factor
        return logits


def configure(code: UserCode, factor: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every network of the user give its logits times a factor."""
    (code.folder / "config.json").write_text(json.dumps({"factor": factor}))
    monkeypatch.setenv("FACTOR", str(factor))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # TorchScript is deprecated, and in use
        trace: Any = torch.jit.trace
        script = trace(Program(factor).eval(), torch.zeros(1, 3, 32, 32))
    script.save(code.folder / "program.pt")
    helper = f"helper_{abs(hash((str(code.folder), factor)))}"
    (code.folder / f"{helper}.py").write_text(f"def change(x):\n    return x * {factor}\n")
    (code.folder / "helper.txt").write_text(helper)


@pytest.mark.filterwarnings("ignore:`torch.jit.load`:FutureWarning")
@pytest.mark.parametrize(
    "name", ["from_file", "from_environment", "calls_helper", "script", "Wrapped"]
)
def test_another_network_gets_another_run_and_another_row(
    code: UserCode, score: Score, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(code.folder)
    configure(code, 1, monkeypatch)
    first, named = score(name, None), score(name, "run")
    configure(code, -1, monkeypatch)
    refused = rf"run was made from another network: .*{name} answers two sample"
    with monkeypatch.context() as patch:
        patch.setattr("evaluator.workflow.score.select_engine", None)  # before export and parity
        with pytest.raises(RunMismatchError, match=refused):
            score(name, "run")
    second = score(name, None)
    assert second.key == first.key  # the code is the same, and so are its weights
    assert second.folder.name == f"{first.folder.name}-2"
    assert classes(first) == classes(named) != classes(second)
    entries = evaluator.report([first.folder, second.folder]).entries
    assert len(entries) == 2
    configure(code, 1, monkeypatch)
    assert score(name, None).folder == first.folder


@pytest.mark.slow
def test_another_network_is_exported_again(
    code: UserCode,
    score: Score,
    three_photos: Path,
    exports_here: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    configure(code, 1, monkeypatch)
    first = score("from_file", "first", engine="onnxruntime")
    subject = code.checked("from_file")
    bundle, created = ensure_bundle(subject, NullProgress())
    assert not created
    fingerprint = bundle.model.fingerprint
    assert fingerprint is not None
    configure(code, -1, monkeypatch)
    told = NullProgress()
    second = score("from_file", "second", engine="onnxruntime", progress=told)
    assert any("is of a network that answers otherwise" in note for note in told.notes)
    assert classes(first) != classes(second) == classes(score("from_file", "truth"))
    # A bundle that the user names is refused, and not replaced.
    mine = shutil.copytree(bundle.folder, code.folder / "mine")
    for engine in ("onnxruntime", "torch"):
        with pytest.raises(InputError, match="mine was exported from another network"):
            evaluator.score(str(mine), "imagenet", three_photos, engine=engine)
    told = NullProgress()
    score("from_file", "third", engine="onnxruntime", progress=told)
    assert not any("Exporting" in note for note in told.notes)


def test_attacks_and_maximized_images_are_of_one_network(
    code: UserCode, score: Score, three_photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(code, 1, monkeypatch)
    against = score("from_file", "clean").folder
    model, common = code.factory("from_file"), {"description": code.description, "device": "cpu"}
    short: Any = {"limit": 2, "epsilons": [0.01], "steps": [2], **common}

    def attack(**more: Any) -> None:
        options = {"out": code.folder / "attack", **short, **more}
        evaluator.attack_whitebox(model, three_photos, **options)

    def maximize() -> None:
        options: Any = {"units": [1], "steps": 2, "out": code.folder / "maximized", **common}
        evaluator.maximize(model, starts=["noise"], **options)

    attack(check_against=against)
    maximize()
    configure(code, -1, monkeypatch)
    with pytest.raises(RunMismatchError, match="attack was made from another network"):
        attack()
    with pytest.raises(RunMismatchError, match="maximized contains images of another network"):
        maximize()
    with pytest.raises(InputError, match="clean was made from another network"):
        attack(out=code.folder / "other", check_against=against)


@pytest.mark.slow
def test_the_source_of_a_transferred_attack_is_one_network_as_well(
    code: UserCode, three_photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def attack() -> tuple[Run, ...]:
        return evaluator.attack_transfer(
            code.factory("make"),
            three_photos,
            source=str(code.folder / "source"),
            engine="torch",
            description=code.description,
            device="cpu",
            limit=2,
            epsilons=[0.01],
            steps=[2],
            out=code.folder / "transfer",
        )

    configure(code, 1, monkeypatch)
    bundle = ensure_bundle(
        replace(code.checked("from_file"), folder=code.folder / "source"), NullProgress()
    )[0]
    (made,) = attack()
    assert made.manifest.source_fingerprint is not None
    assert made.manifest.fingerprint is not None
    configure(code, 2, monkeypatch)
    with pytest.raises(InputError, match="source was exported from another network"):
        attack()
    # Of a bundle that does not know its network, the run does.
    write_document(bundle.folder / "model.json", sealed(replace(bundle.model, fingerprint=None)))
    with pytest.raises(RunMismatchError, match="from_file answers two sample photos otherwise"):
        attack()


def test_a_run_of_the_format_before_is_continued_with_a_note(code: UserCode, score: Score) -> None:
    out = score("make", "run").folder
    manifest = read_document(out / MANIFEST, RunManifest)
    assert manifest.fingerprint is not None
    (out / MANIFEST).unlink()
    aged = RunManifest(**{**vars(manifest), "schema": 7, "seal": "", "fingerprint": None})
    write_document(out / MANIFEST, sealed(aged))
    assert "fingerprint" not in json.loads((out / MANIFEST).read_bytes())
    told = NullProgress()
    assert score("make", "run", progress=told).manifest == open_run(out).manifest
    assert any("did not record what its network answers" in note for note in told.notes)


def test_probabilities_of_an_older_version_are_not_mixed_with_logits(
    code: UserCode, score: Score, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    soft = users_code(
        tmp_path, monkeypatch, "def soft(): return nn.Sequential(Net(), nn.Softmax(1))"
    )
    monkeypatch.setattr(code, "module", soft.module)
    out = score("soft", "run").folder
    manifest = read_document(out / MANIFEST, RunManifest)
    (out / MANIFEST).unlink()
    aged = RunManifest(**{**vars(manifest), "schema": 7, "seal": "", "fingerprint": None})
    write_document(out / MANIFEST, sealed(aged))
    with pytest.raises(RunMismatchError, match="took what the softmax at the end of"):
        score("soft", "run")


def test_documents_without_a_fingerprint_are_what_they_were() -> None:
    manifest: Any = object.__new__(RunManifest)
    for name in RunManifest.__dataclass_fields__:
        object.__setattr__(manifest, name, getattr(RunManifest, name, None))
    assert "fingerprint" not in plain(manifest)
    assert "source_fingerprint" not in plain(manifest)


@pytest.mark.parametrize(
    ("change", "one"), [(0.0, True), (9e-5, True), (2e-4, False), (1.0, False)]
)
def test_rounding_is_no_other_network(change: float, one: bool) -> None:
    logits = np.random.default_rng(0).normal(size=(2, 1000)).astype(np.float32)
    noise = np.random.default_rng(1).normal(size=logits.shape)
    noise *= change * np.linalg.norm(logits) / np.linalg.norm(noise)
    first = NetworkFingerprint.of(logits)
    second = NetworkFingerprint.of((logits + noise).astype(np.float32))
    assert first.agrees(second) is one
    assert first.difference(second) == pytest.approx(change, abs=1e-6)
    assert not first.agrees(NetworkFingerprint.of(logits[:, 1:]))


def test_what_fails_the_self_check_is_refused_or_marked(code: UserCode, score: Score) -> None:
    with pytest.raises(SelfCheckError, match="two passes over the same images differ"):
        score("Dropout", "run")
    assert not (code.folder / "run").exists()
    run = score("Dropout", "run", self_check=False)
    (shard,) = shards_of(IMAGENET.conditions, run.manifest.items, run.manifest.shard_size)[:1]
    provenance = read_provenance(run, shard)
    assert provenance.self_check == "failed: same answer twice"
    assert provenance.parity_status == "reference"
    report = evaluator.report(run.folder)
    assert {s.self_check for s in report.scores} == {"failed: same answer twice"}
    text = report.markdown()
    assert "! the engine's parity is not proved, or its reference did not pass" in text
    assert "self-check failed: same answer twice" in text
    # It has no answer to be recognised by, so its run can be resumed.
    assert run.manifest.fingerprint is None
    assert score("Dropout", "run", self_check=False).manifest == run.manifest
    # A network that passes has no mark.
    passed = evaluator.report(score("make", "passed").folder)
    assert {s.self_check for s in passed.scores} == {"passed"}
    assert "! the engine's" not in passed.markdown()


def test_the_command_line_ends_with_code_3_and_one_line(code: UserCode, three_photos: Path) -> None:
    model, *words = code.words("Dropout")
    words += ["--data", three_photos, "--out", code.folder / "run", "--engine", "torch"]
    words += ["--device", "cpu"]
    done = run("score", model, "imagenet", *words)
    assert "is dropout active?" in error_of(done, code=3).lower()
    done = run("score", model, "imagenet", *words, "--no-self-check")
    assert "warning: " in done.stderr
