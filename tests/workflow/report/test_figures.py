"""Figures as files: from runs, and from the stimuli that they were made from."""

import builtins
import io
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import evaluator
from evaluator.contracts import Condition
from evaluator.errors import OutputError, UnavailableError
from evaluator.evaluate.benchmarks.categories import CATEGORIES
from evaluator.tests import stimuli
from evaluator.tests.attack_scores import whitebox
from evaluator.tests.command_line import run
from evaluator.tests.score_rows import entry
from evaluator.tests.second_cue_conflict import LEFTOVER
from evaluator.tests.written_cue_runs import NAMES, records_of_logits, write_cue_run
from evaluator.tests.written_runs import write_run
from evaluator.workflow.report.figures import Figures
from evaluator.workflow.report.report import Report

CLEAN = (Condition(),)


def picture(colour: int) -> bytes:
    written = io.BytesIO()
    Image.fromarray(np.full((224, 224, 3), colour, np.uint8)).save(written, format="PNG")
    return written.getvalue()


def write_stimuli(folder: Path, names: Sequence[str] = NAMES) -> Path:
    return stimuli.tree(folder, names, picture(90), nested=True)


def drawn(runs: Path, folder: Path) -> Figures:
    return evaluator.report(runs).write_figures(folder)


def test_figures_are_png_and_svg_and_the_report_says_which(tmp_path: Path) -> None:
    write_cue_run(tmp_path / "runs", write_stimuli(tmp_path / "data"))
    found = drawn(tmp_path / "runs", tmp_path / "new" / "figures")
    # By the paper's protocol there is no number: its non-conflict image is not there.
    assert [path.name for path in found.files] == [
        "shape-bias-mean-1200.png",
        "shape-bias-mean-1200.svg",
        "shape-bias-examples.png",
        "shape-bias-examples.svg",
    ]
    assert sorted(found.files) == sorted((tmp_path / "new" / "figures").iterdir())
    assert found.notes == ()
    with Image.open(found.files[0]) as image:
        assert image.size[0] == 1440


def test_the_papers_protocol_has_a_figure_of_its_own(tmp_path: Path) -> None:
    names = [*NAMES, LEFTOVER]
    write_cue_run(tmp_path / "runs", write_stimuli(tmp_path / "data", names), names=names)
    found = drawn(tmp_path / "runs", tmp_path / "figures")
    assert "shape-bias-argmax-1201.svg" in [path.name for path in found.files]


def test_the_same_report_draws_the_same_bytes(tmp_path: Path) -> None:
    data = write_stimuli(tmp_path / "data")
    write_cue_run(tmp_path / "runs" / "a", data)
    write_cue_run(tmp_path / "runs" / "b", data, model="alexnet", seed=2)
    first, second = (drawn(tmp_path / "runs", tmp_path / name) for name in ("x", "y"))
    assert first.files
    for one, other in zip(first.files, second.files, strict=True):
        assert one.read_bytes() == other.read_bytes()


def test_stimuli_are_read_from_a_tar_as_from_a_folder(tmp_path: Path) -> None:
    folder = write_stimuli(tmp_path / "data")
    tar = stimuli.tar_of(folder)
    for name, data in (("folder", folder), ("tar", tar)):
        write_cue_run(tmp_path / name, data)
        drawn(tmp_path / name, tmp_path / "figures" / name)
    files = [tmp_path / "figures" / name / "shape-bias-examples.png" for name in ("folder", "tar")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_without_the_stimuli_there_is_a_note_and_the_other_figures(tmp_path: Path) -> None:
    data = write_stimuli(tmp_path / "data")
    write_cue_run(tmp_path / "runs", data)
    shutil.rmtree(data)
    found = drawn(tmp_path / "runs", tmp_path / "figures")
    assert [path.stem for path in found.files] == ["shape-bias-mean-1200"] * 2
    (note,) = found.notes
    assert note.startswith("No figure of examples: the stimuli cannot be read again. ")
    assert str(data) in note


def test_stimuli_that_another_run_still_has_are_read_there(tmp_path: Path) -> None:
    gone, data = tmp_path / "gone", write_stimuli(tmp_path / "data")
    write_cue_run(tmp_path / "runs" / "a", gone)
    write_cue_run(tmp_path / "runs" / "b", data, model="alexnet")
    assert drawn(tmp_path / "runs", tmp_path / "figures").notes == ()


def test_stimuli_of_which_some_are_gone_or_damaged_are_a_note(tmp_path: Path) -> None:
    data = write_stimuli(tmp_path / "data", NAMES[:20])
    write_cue_run(tmp_path / "runs", data)
    assert "no longer has" in drawn(tmp_path / "runs", tmp_path / "figures").notes[0]
    stimuli.tree(data, NAMES, b"no picture", nested=True)
    (note,) = drawn(tmp_path / "runs", tmp_path / "figures").notes
    assert ".png" in note


def test_examples_are_of_stimuli_that_all_models_scored(tmp_path: Path) -> None:
    data = write_stimuli(tmp_path / "data")
    write_cue_run(tmp_path / "runs" / "a", data)
    write_cue_run(tmp_path / "runs" / "b", data, model="alexnet", names=NAMES[100:])
    assert drawn(tmp_path / "runs", tmp_path / "figures").notes == ()


def test_more_models_than_fit_below_an_example_are_told(tmp_path: Path) -> None:
    for name in "abcd":
        write_cue_run(tmp_path / "runs" / name, tmp_path / "data", model=name)
    write_stimuli(tmp_path / "data")
    (note,) = drawn(tmp_path / "runs", tmp_path / "figures").notes
    assert note == "The examples show the first 3 models; 1 more are not in them."


def test_models_that_share_no_stimulus_have_no_figure_of_examples(tmp_path: Path) -> None:
    data = write_stimuli(tmp_path / "data")
    write_cue_run(tmp_path / "runs" / "a", data, names=NAMES[:100])
    write_cue_run(tmp_path / "runs" / "b", data, model="alexnet", names=NAMES[100:])
    (note,) = drawn(tmp_path / "runs", tmp_path / "figures").notes
    assert note == "No figure of examples: no stimulus was scored by all of the first models."


def test_a_report_without_shape_bias_and_attacks_says_that_there_is_nothing_to_draw(
    tmp_path: Path,
) -> None:
    write_run(tmp_path / "runs", conditions=CLEAN)
    found = drawn(tmp_path / "runs", tmp_path / "figures")
    note = "No figure: figures show shape bias and attacks, and no run has either."
    assert found == Figures(notes=(note,))
    assert not (tmp_path / "figures").exists()


def test_a_bias_that_was_refused_is_no_bias_that_no_run_has(tmp_path: Path) -> None:
    cats = np.zeros((2, 1000), np.float32)
    cats[:, list(CATEGORIES["cat"])] = 9
    records = records_of_logits(["car1-dog1.png", "dog2-car1.png"], cats)
    write_run(tmp_path / "a", records=lambda _: records, conditions=CLEAN, benchmark="cue-conflict")
    (note,) = drawn(tmp_path / "a", tmp_path / "figures").notes
    assert note.startswith(
        "No figure: figures show shape bias and attacks; refused: no image was decided for its "
        "shape or its texture; bicycle6-bicycle3.png is not there"
    )
    assert note.endswith("a tree that has it.")


def test_without_matplotlib_one_line_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def missing(name: str, *args: Any, **more: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ImportError(f"No module named {name!r}")
        return real(name, *args, **more)

    write_cue_run(tmp_path / "runs", write_stimuli(tmp_path / "data"))
    report = evaluator.report(tmp_path / "runs")
    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(UnavailableError, match=r"pip install 'evaluator\[figures\]'"):
        report.write_figures(tmp_path / "figures")
    assert not (tmp_path / "figures").exists()


def test_a_file_where_the_folder_should_be_is_refused(tmp_path: Path) -> None:
    write_cue_run(tmp_path / "runs", write_stimuli(tmp_path / "data"))
    (tmp_path / "figures").write_text("mine")
    with pytest.raises(OutputError, match="figures"):
        drawn(tmp_path / "runs", tmp_path / "figures")
    assert (tmp_path / "figures").read_text() == "mine"


def test_the_command_names_the_files_and_refuses_before_it_reads(tmp_path: Path) -> None:
    runs, folder = tmp_path / "runs", tmp_path / "figures"
    write_cue_run(runs, write_stimuli(tmp_path / "data"))
    done = run("report", runs, "--figures", folder, "--json", "-")
    assert done.returncode == 0
    assert done.stdout.startswith("{")
    names = [line.removeprefix("Figure: ") for line in done.stderr.splitlines()]
    assert sorted(names) == sorted(map(str, folder.iterdir()))
    place = tmp_path / "data" / "airplane" / NAMES[0]
    refused = run("report", tmp_path / "nothing", "--figures", place)
    assert refused.returncode == 1
    assert "cannot be written" in refused.stderr


def test_attacks_are_drawn_and_the_papers_beside_them_on_request(tmp_path: Path) -> None:
    entries = (entry(*whitebox()),)
    found = {
        every: Report(entries, all_published=every).write_figures(tmp_path / str(every))
        for every in (False, True)
    }
    for figures in found.values():
        assert [path.name for path in figures.files] == ["attacks.png", "attacks.svg"]
        assert figures.notes == ()
    alone, beside = (figures.files[1].read_bytes() for figures in found.values())
    assert alone != beside
