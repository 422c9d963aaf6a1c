"""``report --html`` on runs: examples with thumbnails, provenance, what is missing, what is odd."""

import builtins
import io
from collections.abc import Callable, Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

import evaluator
from evaluator.contracts import Condition
from evaluator.errors import InputError
from evaluator.evaluate.classes import class_names
from evaluator.reporting.html.contents import MOST_EXAMPLES, MOST_MAXIMIZED, THUMBNAIL_PX
from evaluator.tests.command_line import error_of, run
from evaluator.tests.small import small_row
from evaluator.tests.written_cue_runs import write_cue_run
from evaluator.tests.written_runs import records_of, write_run
from evaluator.tests.written_videos import still_videos, write_videos
from evaluator.workflow.report.examples import most_failed, most_flipped

CLEAN = (Condition(),)
ODD = "<img src=x onerror=alert(1)>&"


def images(folder: Path, names: Sequence[str]) -> Path:
    for name in names:
        written = io.BytesIO()
        Image.fromarray(np.full((300, 300, 3), 90, np.uint8)).save(written, format="JPEG")
        path = folder / "n01440764" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(written.getvalue())
    return folder


def named(right: Sequence[bool], name: Callable[[int], str]) -> pa.Table:
    table = records_of(np.array(right))
    ids = [f"n01440764/{name(row)}" for row in range(table.num_rows)]
    return table.set_column(table.schema.get_field_index("id"), "id", pa.array(ids))


def clean_run(folder: Path, right: Sequence[bool], data: Path, **more: Any) -> Path:
    records = named(right, more.pop("name", lambda row: f"{row:02d}.JPEG"))
    return write_run(folder, conditions=CLEAN, records=lambda _: records, data=(str(data),), **more)


class Tags(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, Mapping[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += f"{data} "


def page(*words: str | Path, out: Path) -> Tags:
    done = run("report", *words, "--html", out)
    assert done.returncode == 0, done.stderr
    return Tags(out.read_text("utf-8"))


def test_the_most_failed_images_are_those_that_most_runs_get_wrong(tmp_path: Path) -> None:
    data = images(tmp_path / "data", [f"{row:02d}.JPEG" for row in range(4)])
    clean_run(tmp_path / "runs/a", [True, False, False, True], data)
    clean_run(tmp_path / "runs/b", [True, True, False, True], data, model="alexnet")
    failed = most_failed(evaluator.report(tmp_path / "runs").runs)
    counts = {id: (one.wrong, one.total) for id, one in failed.items()}
    assert list(counts.items()) == [("n01440764/02.JPEG", (2, 2)), ("n01440764/01.JPEG", (1, 2))]
    tags = page(tmp_path / "runs", out=tmp_path / "page.html")
    labels = [str(a["alt"]) for tag, a in tags.tags if tag == "img"]
    name = class_names()[3]
    assert labels == [
        f"{name}, wrong 2 of 2 times; n01440764/02.JPEG",
        f"{name}, wrong 1 of 2 times; n01440764/01.JPEG",
    ]
    assert f"most often: {class_names()[7]}" in tags.text


def test_skipped_images_are_neither_right_nor_wrong(tmp_path: Path) -> None:
    table = records_of(np.zeros(3, bool), skipped=(1,))
    write_run(tmp_path / "a", conditions=CLEAN, records=lambda _: table)
    failed = most_failed(evaluator.report(tmp_path / "a").runs)
    assert sorted(failed) == ["n01440764/00.JPEG", "n01440764/02.JPEG"]


def test_there_are_as_many_thumbnails_as_the_page_says_and_no_larger(tmp_path: Path) -> None:
    names = [f"{row:02d}.JPEG" for row in range(30)]
    clean_run(tmp_path / "a", [False] * 30, images(tmp_path / "data", names))
    tags = page(tmp_path / "a", out=tmp_path / "page.html")
    pictures = [a for tag, a in tags.tags if tag == "img"]
    assert len(pictures) == MOST_EXAMPLES == 12
    assert {(a["width"], a["height"]) for a in pictures} == {(str(THUMBNAIL_PX),) * 2}
    assert max(len(str(a["src"])) for a in pictures) < 20_000


def test_images_whose_data_are_gone_are_listed_by_name(tmp_path: Path) -> None:
    clean_run(tmp_path / "a", [False, True], tmp_path / "gone")
    tags = page(tmp_path / "a", out=tmp_path / "page.html")
    assert not [a for tag, a in tags.tags if tag == "img"]
    assert "The images are not shown, since they cannot be read again." in tags.text
    assert "n01440764/00.JPEG" in tags.text


def test_single_images_that_cannot_be_read_are_counted(tmp_path: Path) -> None:
    data = images(tmp_path / "data", ["00.JPEG", "01.JPEG"])
    (data / "n01440764/00.JPEG").write_bytes(b"no image")
    clean_run(tmp_path / "a", [False, False], data)
    tags = page(tmp_path / "a", out=tmp_path / "page.html")
    assert "1 of 2 are not shown: they cannot be read again." in tags.text


def test_the_most_flipped_videos_are_of_the_perturbations_that_move(tmp_path: Path) -> None:
    write_videos(tmp_path / "a", still_videos(2, ["fog", "snow"]))
    flipped = most_flipped(evaluator.report(tmp_path / "a").runs)
    assert [(one.id, one.condition["perturbation"], one.rate) for one in flipped] == [
        ("n01440764/00.mp4", "snow", 1.0),
        ("n01440764/01.mp4", "snow", 1.0),
    ]
    tags = page(tmp_path / "a", out=tmp_path / "page.html")
    assert "Videos whose prediction changes most often" in tags.text


def test_a_number_leads_to_its_provenance_and_command(tmp_path: Path) -> None:
    clean_run(tmp_path / "a", [True, False], tmp_path / "data")
    tags = page(tmp_path / "a", out=tmp_path / "page.html")
    panel = tags.text[tags.text.index("Provenance") :]
    for words in (
        "Weights https://example.org/weights-0123abcd.pth",
        "Weights SHA-256 resnet50",
        "Engine onnxruntime fp32",
        "Graph SHA-256 a, ",
        "Parity passed",
        f"Data {tmp_path}/data",
        "Seed none: no random numbers are drawn",
        "Versions",
    ):
        assert words in " ".join(panel.split())
    assert "No command line is recorded" in tags.text


def test_names_of_files_models_and_folders_are_text(tmp_path: Path) -> None:
    data = images(tmp_path / f"data{ODD}", [f"{ODD}{row}.JPEG" for row in range(2)])
    out = tmp_path / "page.html"
    clean_run(
        tmp_path / "runs" / ODD, [False, True], data, model=ODD, name=lambda row: f"{ODD}{row}.JPEG"
    )  # fmt: skip
    write_run(tmp_path / "runs" / f"c{ODD}", model=ODD)
    tags = page(tmp_path / "runs", out=out)
    assert f"{ODD}0.JPEG" in tags.text
    assert len([a for tag, a in tags.tags if tag == "img"]) == 1
    assert all("onerror" not in attributes for _, attributes in tags.tags)
    assert "<img src=x" not in out.read_text("utf-8")


def test_without_matplotlib_the_page_has_no_figures_and_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ImportError("No module named 'matplotlib'")
        return imported(name, *args, **kwargs)

    imported = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", fail)
    write_cue_run(tmp_path / "a", tmp_path / "gone")
    text = page(tmp_path / "a", out=tmp_path / "page.html").text
    assert "matplotlib is not installed: pip install 'evaluator[figures]'" in text


def test_maximizing_images_are_found_inside_and_among_the_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = small_row(monkeypatch)
    for name in ("runs/m", "other"):
        evaluator.maximize(
            model, out=tmp_path / name, weights="random", crop_px=32, device="cpu", steps=1,
            units=[0, 1], starts=["noise"],
        )  # fmt: skip
    write_run(tmp_path / "runs/a", conditions=CLEAN)
    tags = page(tmp_path / "runs", tmp_path / "other", out=tmp_path / "page.html")
    pictures = [str(a["alt"]) for tag, a in tags.tags if tag == "img"]
    assert pictures == ["Maximizes unit 0, from noise", "Maximizes unit 1, from noise"] * 2
    assert len(pictures) <= MOST_MAXIMIZED
    assert "How these were made" in tags.text
    document = tmp_path / "other" / "maximized.json"
    document.write_text(document.read_text().replace('"unit": 1', '"unit": 3'))
    with pytest.raises(InputError, match=r"maximized\.json"):
        evaluator.report(tmp_path / "runs").html([tmp_path / "other"])


def test_maximizing_images_alone_are_no_report(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "maximized.json").write_text("{}")
    done = run("report", tmp_path / "m", "--html", tmp_path / "page.html")
    assert "holds maximizing images and no run. Give at least one run" in error_of(done)


def test_the_page_can_go_to_standard_output(tmp_path: Path) -> None:
    write_run(tmp_path / "a", conditions=CLEAN)
    done = run("report", tmp_path / "a", "--html", "-")
    assert done.stdout.startswith("<!DOCTYPE html>")
    assert done.stdout.rstrip().endswith("</html>")


def test_the_same_runs_give_the_same_page(tmp_path: Path) -> None:
    write_run(tmp_path / "a")
    first, second = (evaluator.report(tmp_path / "a").html() for _ in range(2))
    assert first == second
