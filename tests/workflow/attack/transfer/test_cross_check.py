"""A transferred attack against an engine's run of its source: compared before anyone keeps it."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import evaluator
from evaluator.attacks.pgd.attempts import AttemptResult
from evaluator.cli import app
from evaluator.contracts import NullProgress, Run, Shard
from evaluator.errors import InputError, ParityError
from evaluator.exporter.spec import model_spec
from evaluator.records.shards import read_records
from evaluator.tests.planted_runs import compared, logits_of_photos, prefer, rewritten, room_of
from evaluator.tests.small import one_line
from evaluator.tests.transfers import (
    EPSILONS,
    PHOTOS,
    SIDE,
    network_of,
    transfer,
)

BOTH = ["first", "second"]


@pytest.fixture
def room() -> float:
    spec = model_spec("flat", weights="random", crop_px=SIDE)
    return room_of(logits_of_photos(network_of("random"), spec.preprocessing))


@pytest.fixture
def honest(tree: Path, tmp_path: Path) -> Run:
    return score(tree, tmp_path / "engine", "flat")


@pytest.fixture
def doctored(honest: Run, room: float, tmp_path: Path) -> Path:
    """A run with a photo, the last but one, that contradicts PyTorch."""
    return rewritten(honest, tmp_path / "doctored", prefer({4: 1.1 * room}))


def score(tree: Path, out: Path, model: str, **more: Any) -> Run:
    options: dict[str, Any] = {
        "weights": "random", "crop_px": SIDE, "engine": "torch", "device": "cpu",
    }  # fmt: skip
    return evaluator.score(model, "imagenet", tree, out=out, **{**options, **more})


def kept_of(folder: Path) -> list[str]:
    """Whatever a folder has of images: records, and images."""
    about = {"run.json", "fingerprint.json"}
    found = (p for p in folder.rglob("*") if p.is_file() and p.name not in about)
    return sorted(p.relative_to(folder).as_posix() for p in found)


def test_differences_are_told_once_however_many_models_classify(
    tree: Path, weights: str, tmp_path: Path, honest: Run, room: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    read: list[Path] = []

    def noted(run: Run, shard: Shard) -> Any:
        read.append(run.folder)
        return read_records(run, shard)

    monkeypatch.setattr("evaluator.workflow.attack.shards.read_records", noted)
    planted = rewritten(honest, tmp_path / "planted", prefer({1: 0.25 * room, 3: 0.9 * room}))
    told = NullProgress()
    some: dict[str, Any] = {"check_against": planted, "progress": told, "keep": tmp_path / "kept"}
    runs = transfer(tree, weights, tmp_path / "runs", BOTH, **some)
    first, second, counted = compared(told)
    assert {first.count("PyTorch predicts class"), second.count("PyTorch predicts class")} == {1}
    assert counted == (
        f"{PHOTOS} clean predictions compared with {planted}: 2 differ, the largest margin "
        f"{0.9 * room:.2g}, where parity's bounds allow {room:.2g}."
    )
    assert not read  # nothing that this process made is read again
    again = NullProgress()
    transfer(tree, weights, tmp_path / "runs", BOTH, **{**some, "progress": again})
    assert compared(again) == compared(told)
    assert set(read) == {tmp_path / "kept", *(run.folder for run in runs)}


@pytest.mark.parametrize("keeps", [False, True])
def test_a_contradiction_ends_the_shard_for_everyone(
    tree: Path, weights: str, tmp_path: Path, doctored: Path, keeps: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("evaluator.workflow.runs.start.shard_size", lambda *_: 2)
    some: dict[str, Any] = {"keep": tmp_path / "kept"} if keeps else {}
    with pytest.raises(ParityError, match=r"n\d+/\S+ is class \d+ in PyTorch") as error:
        transfer(tree, weights, tmp_path / "runs", BOTH, check_against=doctored, **some)
    assert "nothing of these images was written" in one_line(error)
    parts = [f"epsilon={EPSILONS[0]}/part-0000{index}" for index in (0, 1)]  # and not the third
    records = [f"records/{part}.parquet" for part in parts]
    # The images are made in the run of those that are kept, if any, else in the first model's.
    for name in BOTH:
        assert kept_of(tmp_path / "runs" / name) == records
    if keeps:
        assert kept_of(tmp_path / "kept") == [f"images/{part}.arrow" for part in parts] + records


@pytest.mark.parametrize("place", ["runs/first", "runs/second", "kept"])
def test_records_that_are_there_are_compared_whosever_they_are(
    tree: Path, weights: str, tmp_path: Path, honest: Run, doctored: Path, place: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    some: dict[str, Any] = {"keep": tmp_path / "kept"} if place == "kept" else {}
    model = "second" if place.endswith("second") else "first"
    transfer(tree, weights, tmp_path / ("a" if some else "runs"), model, **some)
    with pytest.raises(ParityError, match="are not confirmed") as error:
        transfer(tree, weights, tmp_path / "runs", BOTH, check_against=doctored, **some)
    assert f"the records in {tmp_path / place} are not confirmed" in one_line(error)
    others = {"runs/first", "runs/second"} - {place}
    assert not any(kept_of(tmp_path / other) for other in others)
    if some:
        monkeypatch.setattr("evaluator.attacks.pgd.pgd.run_pgd", never)
    told = NullProgress()
    transfer(
        tree, weights, tmp_path / "runs", BOTH, check_against=honest.folder, progress=told, **some
    )
    assert compared(told) == [
        f"{PHOTOS} clean predictions compared with {honest.folder}: 0 differ."
    ]


def never(*_: Any) -> Iterator[AttemptResult]:
    raise AssertionError("attacked again")


def test_images_that_another_process_kept_meanwhile_are_compared_before_they_are_classified(
    tree: Path, weights: str, tmp_path: Path, honest: Run, room: float
) -> None:
    planted = rewritten(honest, tmp_path / "planted", prefer({0: 1.1 * room}))
    transfer(tree, weights, tmp_path / "a", keep=tmp_path / "kept")
    records, aside = tmp_path / "kept/records", tmp_path / "aside"
    records.rename(aside)

    class Meanwhile(NullProgress):
        def advance(self, step: str, done: int, total: int, unit: str) -> None:
            if step == "attack":  # what was there has been compared
                shutil.copytree(aside, records, dirs_exist_ok=True)

    with pytest.raises(ParityError, match="nothing of these images was written"):
        transfer(
            tree, weights, tmp_path / "runs", BOTH, keep=tmp_path / "kept",
            check_against=planted, progress=Meanwhile(),
        )  # fmt: skip
    assert not any(kept_of(tmp_path / "runs" / name) for name in BOTH)


def test_only_a_run_of_the_source_can_be_compared_with(
    tree: Path, weights: str, tmp_path: Path
) -> None:
    victims = score(tree, tmp_path / "first", "first", weights=weights)
    wide = score(tree, tmp_path / "wide", "first", weights=weights, crop_px=48)
    for run, words in (
        (victims, "Give a run of the attacked model, flat, with the same weights."),
        (wide, "Score the photos with the attacked model, flat, with the same preprocessing."),
    ):
        with pytest.raises(InputError) as error:
            transfer(tree, weights, tmp_path / "runs", BOTH, check_against=run.folder)
        assert words in one_line(error)
        assert not (tmp_path / "runs").exists()


def test_the_command_ends_with_the_exit_code_of_parity(
    tree: Path, weights: str, tmp_path: Path, doctored: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "attack", "transfer", "first", "--data", tree, "--source", "flat", "--source-weights",
        "random", "--source-crop-px", SIDE, "--weights", weights, "--crop-px", SIDE, "--engine",
        "torch", "--device", "cpu", "--out", tmp_path / "runs", "--check-against", doctored,
    ]  # fmt: skip
    with pytest.raises(SystemExit) as ended:
        app([*map(str, words)])
    assert ended.value.code == 3
    (line,) = (x for x in capsys.readouterr().err.splitlines() if x.startswith("error: "))
    assert f"PyTorch and {doctored} contradict each other" in line
