"""Planning the paper's tables and figures, and doing what is missing."""

from pathlib import Path

import pytest

import evaluator
from evaluator.contracts import Bundle
from evaluator.errors import InputError
from evaluator.reporting.published.paper import published_models
from evaluator.tests.command_line import error_of, run
from evaluator.tests.stimuli import names
from evaluator.tests.stimuli import tree as stimuli_tree
from evaluator.tests.toy import TOY
from evaluator.tests.written_runs import write_run
from evaluator.workflow.config import Config
from evaluator.workflow.models.options import ModelOptions
from evaluator.workflow.reproduce.parts import PARTS, SAMPLE, Scale, work_of
from evaluator.workflow.reproduce.plan import PlannedStep, Planner, Size, Step, finished_share
from evaluator.workflow.reproduce.reproduce import Reproduction, _Overall

TOY_CONFIG = f"""
[models.toy]
model = "{TOY}"
weights = "random"
crop_px = 64
"""


class Bars:
    """Progress that keeps what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.shares: list[int] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def advance(self, step: str, done: int, total: int, unit: str) -> None:
        if step == "all steps":
            assert (total, unit) == (100, "%")
            self.shares.append(done)


@pytest.fixture
def config(three_photos: Path, tmp_path: Path) -> Path:
    path = tmp_path / "evaluator.toml"
    path.write_text(f'[data]\nimagenet = "{three_photos}"\n{TOY_CONFIG}')
    return path


def planned(
    config: Path, out: Path, *only: str, models: tuple[str, ...] = ("toy",)
) -> Reproduction:
    return evaluator.reproduce(out, models=models, only=only, config=config)


def test_a_part_needs_its_work_and_the_clean_images() -> None:
    assert work_of(["table1"]) == ("imagenet", "imagenet-p", "imagenet-c")
    assert work_of(["figure1"]) == work_of(["table2"]) == ("imagenet", "transfer", "whitebox")
    assert work_of(["figure2"]) == work_of(["figure3"]) == ("maximize",)
    assert work_of(["figure4"]) == work_of(["table3"]) == ("cue-conflict",)
    assert set(work_of(None)) == {work for works in PARTS.values() for work in works}
    with pytest.raises(InputError, match=r"Unknown part 'tabel1' of the paper\. Did you mean tab"):
        work_of(["tabel1"])


def test_the_default_is_the_papers_models_and_all_of_them_lack_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    plan = evaluator.reproduce(tmp_path / "out")
    assert {step.step.name for step in plan.steps} == set(published_models())
    assert len(plan.steps) == 5 * 7
    for step in plan.steps:
        if step.step.work == "maximize":
            assert step.state == "missing"
        else:
            assert step.state == "not possible"
            assert "no data: `evaluator data fetch" in step.obstacle
    assert not (tmp_path / "out").exists()


def test_what_is_missing_is_done_once(toy: Bundle, config: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = planned(config, out, "table1").timed()
    states = {step.step.work: step.state for step in first.steps}
    assert states == {
        "imagenet": "missing",
        "imagenet-p": "not possible",
        "imagenet-c": "not possible",
    }
    clean = first.steps[0]
    assert (clean.size, clean.step.model.weights) == (Size(3), "random")
    assert clean.seconds is not None
    assert clean.seconds > 0
    assert first.bytes_on_disk == 3 * 40
    bars = Bars()
    outcome = first.run(bars)
    assert not outcome.failures
    assert {score.benchmark for score in outcome.report.scores} == {"imagenet"}
    assert "Step 1 of 1: imagenet of toy." in bars.notes
    assert bars.shares == sorted(bars.shares)
    assert bars.shares[-1] == 100
    again = planned(config, out, "table1")
    assert [step.state for step in again.steps] == ["finished", "not possible", "not possible"]
    assert again.timed().seconds == 0
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.parquet")}
    again.run()
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.parquet")} == before


def test_a_run_that_was_interrupted_is_partly_finished(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", shards=2)
    step = Step("imagenet-c", "resnet50", ModelOptions("resnet50"), folder, folder)
    assert finished_share(step, None) == 1
    parts = sorted(folder.rglob("part-*.parquet"))
    for part in parts[:30]:
        part.unlink()
    assert finished_share(step, None) == 1 - 30 / len(parts)
    planned = PlannedStep(step, Size(10, 75), finished_share(step, None))
    assert (planned.state, planned.is_open) == ("80% finished", True)
    assert planned.bytes_on_disk == 0.2 * 750 * 40
    other = Step("imagenet-c", "alexnet", ModelOptions("alexnet"), tmp_path, tmp_path)
    assert finished_share(other, None) == 0


def test_what_cannot_be_done_is_known_before_the_work(config: Path, tmp_path: Path) -> None:
    stimuli = stimuli_tree(tmp_path / "stimuli", names(3), nested=True)
    text = config.read_text().replace("[data]", f'[data]\ncue-conflict = "{stimuli}"')
    config.write_text(f'{text}[models.missing]\nmodel = "resnet5O"\n')
    (step,) = planned(config, tmp_path / "out", "table3").steps
    assert "takes 64 px, but the images of Cue conflict are stored at 224 px" in step.obstacle
    (clean, *_) = planned(config, tmp_path / "out", "table1", models=("missing",)).steps
    assert "Did you mean resnet50" in clean.obstacle


def test_a_failed_step_does_not_stop_the_others(
    toy: Bundle, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise InputError("it broke.")

    monkeypatch.setattr("evaluator.workflow.reproduce.reproduce.maximize", fails)
    outcome = planned(config, tmp_path / "out", "figure2", "table1").run()
    ((step, error),) = outcome.failures
    assert (step.work, str(error)) == ("maximize", "it broke.")
    assert outcome.report.scores


def test_a_model_that_cannot_be_attacked_does_not_stop_those_it_shares_images_with(
    three_photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[list[str]] = []

    def attack(models: list[ModelOptions], *_: object, **__: object) -> None:
        calls.append([options.model for options in models])
        if "alexnet" in calls[-1]:
            raise InputError("alexnet is broken.")

    monkeypatch.setattr("evaluator.workflow.reproduce.reproduce.attack_transfer", attack)
    planner = Planner(Config(data={"imagenet": (three_photos,)}), Scale(), tmp_path)
    steps = tuple(planner.steps(["resnet50", "alexnet"], ["transfer"]))
    with pytest.raises(InputError, match=r"nothing to report: alexnet is broken"):
        Reproduction(tmp_path, Scale(), steps).run()
    both, alone = ["resnet50", "alexnet"], ["alexnet"]
    assert calls == [both, ["resnet50"], both, alone]


def test_nothing_to_report_says_why(tmp_path: Path, config: Path) -> None:
    with pytest.raises(InputError, match=r"nothing to report: no data: `evaluator data fetch cue-"):
        planned(config, tmp_path / "out", "table3").run()


def test_the_size_of_attacks(three_photos: Path, tmp_path: Path) -> None:
    config = Config(data={"imagenet": (three_photos,)})

    def size(work: str, scale: Scale) -> Size | None:
        (step,) = Planner(config, scale, tmp_path).steps(["resnet50"], [work])
        return step.size

    assert size("whitebox", Scale()) == Size(2, 6)  # every second image
    assert size("transfer", Scale()) == Size(3, 6)
    assert size("transfer", Scale(limit=1)) == Size(1, 6)
    assert size("whitebox", SAMPLE) == Size(3, 2)
    assert size("maximize", Scale()) == Size(18)
    assert size("maximize", SAMPLE) == Size(1)


def test_models_of_one_crop_share_the_adversarial_images(
    three_photos: Path, tmp_path: Path
) -> None:
    own = {"mine": ModelOptions("resnet50", weights="random")}
    config = Config(data={"imagenet": (three_photos,)}, models=own)
    planner = Planner(config, Scale(), tmp_path)
    names = ["resnet50", "alexnet", "torchvision:inception_v3", "mine"]
    fifty, alexnet, inception, mine = planner.steps(names, ["transfer"])
    assert fifty.step.out == alexnet.step.out == tmp_path / "runs/transfer-224px"
    assert fifty.step.folder == fifty.step.out / "resnet50"
    assert inception.step.out == tmp_path / "runs/transfer-299px"
    assert mine.step.folder == tmp_path / "runs/mine/transfer/resnet50"  # the name is taken


def test_the_bar_is_as_long_as_the_measured_times(tmp_path: Path) -> None:
    def step(name: str, seconds: float | None) -> PlannedStep:
        options = ModelOptions(name)
        return PlannedStep(
            Step("imagenet", name, options, tmp_path, tmp_path), Size(1), 0, seconds=seconds
        )

    bars = Bars()
    overall = _Overall(bars, [step("a", 30), step("b", 50), step("c", None)])  # c counts as 40
    for _ in overall.begun():
        overall.advance("parity, reference", 1, 2, "images")
        overall.advance("score", 1, 2, "images")
    assert bars.shares == [0, 12, 25, 45, 66, 83, 100]


def test_the_command_prints_a_plan(config: Path, toy: Bundle, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = (
        "reproduce", "--config", config, "--models", "toy", "--only", "table1", "--out", out,
    )  # fmt: skip
    plan = run(*arguments, "--dry-run")
    assert plan.returncode == 0, plan.stderr
    assert "1 of 3 steps to do" in plan.stdout
    assert "evaluator data fetch imagenet-c" in plan.stdout
    assert not out.exists()
    done = run(*arguments)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in out.iterdir()} >= {"report.md", "report.json", "report.html"}
    assert "top-1 error %" in done.stdout


def test_an_unknown_part_is_one_line(tmp_path: Path) -> None:
    result = run("reproduce", "--only", "table4", "--out", tmp_path / "out")
    assert "Unknown part 'table4' of the paper. Did you mean table" in error_of(result)
