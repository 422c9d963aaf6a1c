"""Maximizing images from a model's name to files: what is written, kept, refused, continued."""

import json
import shutil
import tarfile
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms

import evaluator
from evaluator.attacks.maximizing.maximizing import Maximized
from evaluator.attacks.maximizing.paper_random_state import drawn_noise
from evaluator.attacks.maximizing.similarity import ssim
from evaluator.contracts import Bundle, NullProgress
from evaluator.engine.devices import cuda_devices
from evaluator.errors import EvaluatorError, InputError, OutputError, RunMismatchError
from evaluator.exporter.spec import model_spec
from evaluator.exporter.weights.weights import load_network
from evaluator.storage.documents import read_sealed
from evaluator.tests.ready_graphs import ReadyGraph, description
from evaluator.tests.small import one_line, small_row
from evaluator.workflow.maximize.maximize import MaximizedImages
from evaluator.workflow.maximize.results import MaximizedDocument

SIDE = 32
FILES = {"maximized.json", "maximized.npz", "maximized.png", "last.png"}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> str:
    return small_row(monkeypatch)


def make(out: Path, **more: Any) -> MaximizedImages:
    options: dict[str, Any] = {
        "weights": "random", "crop_px": SIDE, "device": "cpu", "steps": 3, "batch_size": 2,
        "units": [0, 3],
    }  # fmt: skip
    return evaluator.maximize("small", out=out, **{**options, **more})


def tar_of_tree(tree: Path, path: Path) -> Path:
    with tarfile.open(path, "w") as tar:
        for file in sorted(tree.rglob("*.JPEG"), reverse=True):
            tar.add(file, file.relative_to(tree))
    return path


def files_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_grids_arrays_and_a_document_are_written(tmp_path: Path) -> None:
    made = make(tmp_path / "new" / "out", step_size=0.7)  # it overshoots: the last is not the best
    assert made.created
    assert files_in(made.folder) == FILES
    document = read_sealed(made.folder / "maximized.json", MaximizedDocument)
    assert document == made.document
    arrays = np.load(made.folder / "maximized.npz")
    assert arrays["images"].shape == arrays["last"].shape == (3, 2, 3, SIDE, SIDE)
    assert arrays["images"].dtype == np.float32
    assert arrays["traces"].shape == (3, 2, 4)
    assert arrays["units"].tolist() == [0, 3]
    assert arrays["start_names"].tolist() == [start.name for start in document.starts]
    names = [(image.start, image.unit) for image in document.images]
    assert names == [(s.name, unit) for s in document.starts for unit in (0, 3)]
    for number, image in enumerate(document.images):
        k, u = divmod(number, 2)
        trace = arrays["traces"][k, u]
        assert image.activation == pytest.approx(float(trace[image.step]))
        assert image.last_activation == pytest.approx(float(trace[-1]))
        change = np.abs(arrays["images"][k, u] - arrays["starts"][k]).max()
        assert image.linf == pytest.approx(float(change))
        assert image.to_start.ssim == ssim(arrays["images"][k, u], arrays["starts"][k])
    assert any(image.activation != image.last_activation for image in document.images)
    (circumstances,) = document.circumstances
    assert circumstances.batch_size == 2
    assert circumstances.device.name == "cpu"
    assert {"torch", "numpy", "scipy", "evaluator", "python"} <= set(circumstances.versions)
    assert len(document.weights_sha256) == 64
    for name in ("maximized.png", "last.png"):
        with Image.open(made.folder / name) as grid:
            grid.load()
            assert grid.mode == "RGB"


def test_photos_are_taken_from_tars_as_from_the_folder(photos: Path, tmp_path: Path) -> None:
    of_folder = make(tmp_path / "folder", data=photos, steps=1)
    archive = tar_of_tree(photos, tmp_path / "all.tar")
    for data in (archive, str(archive), [archive]):
        out = tmp_path / f"out{len(files_in(tmp_path))}"
        made = make(out, data=data, steps=1)
        assert made.document.key == of_folder.document.key
        assert [s.name for s in made.document.starts] == [s.name for s in of_folder.document.starts]
        assert made.document.starts[0].location.startswith(f"{archive}: n")
    kept = make(tmp_path / "folder", data=archive, steps=1)
    assert not kept.created


def test_flat_photos_are_sorted_by_class_where_a_list_says_it_else_by_name(
    photos: Path, tmp_path: Path
) -> None:
    flat = tmp_path / "flat"
    flat.mkdir()
    files = sorted(photos.rglob("*.JPEG"))[:2]
    first, second = (f"ILSVRC2012_val_0000000{number}.JPEG" for number in (1, 2))
    for name, file in zip((second, first), files, strict=True):
        shutil.copyfile(file, flat / name)
    listed = tmp_path / "classes.txt"
    listed.write_text(f"{second} n01440764\n{first} n01443537\n")
    by_name = make(tmp_path / "by_name", data=flat, steps=1)
    assert [s.name for s in by_name.document.starts] == [first, second, "noise"]
    by_class = make(tmp_path / "by_class", data=flat, labels=listed, steps=1)
    assert [s.name for s in by_class.document.starts] == [second, first, "noise"]
    shutil.copyfile(listed, flat / "val.txt")
    beside = make(tmp_path / "beside", data=flat, steps=1)
    assert beside.document.key == by_class.document.key
    (flat / first).rename(flat / "a.JPEG")
    (flat / second).rename(flat / "b.JPEG")
    other = make(tmp_path / "other", data=flat, steps=1)
    assert other.document.key == by_name.document.key


def test_starts_are_two_photos_as_the_model_sees_them_and_the_papers_noise(
    photos: Path, tmp_path: Path
) -> None:
    made = make(tmp_path / "out", data=photos, steps=1)
    files = sorted(photos.rglob("*.JPEG"))[:2]
    assert [start.name for start in made.document.starts] == [*(f.name for f in files), "noise"]
    starts = np.load(made.folder / "maximized.npz")["starts"]
    preprocessing = made.document.key.preprocessing
    seen = transforms.Compose(
        [
            transforms.Resize(preprocessing.resize_px),
            transforms.CenterCrop(SIDE),
            transforms.ToTensor(),
        ]
    )
    for start, file in zip(starts, files, strict=False):
        with Image.open(file) as photo:
            np.testing.assert_array_equal(start, seen(photo.convert("RGB")).numpy())
    np.testing.assert_array_equal(starts[2], drawn_noise(SIDE))
    # The sample photos are the same ones, under the names that they came with.
    by_default = make(tmp_path / "other", steps=1)
    assert [s.sha256 for s in by_default.document.starts] == list(made.document.key.starts)


def test_units_are_those_of_the_network_on_normalised_images(tmp_path: Path) -> None:
    made = make(tmp_path / "out", units=[0, 1, 2, 3])
    spec = model_spec("small", weights="random", crop_px=SIDE)
    network: Any = load_network(spec).network
    arrays = np.load(made.folder / "maximized.npz")
    mean, std = (
        torch.tensor(values).reshape(1, 3, 1, 1)
        for values in (spec.preprocessing.mean, spec.preprocessing.std)
    )
    for name, step in (("starts", 0), ("last", -1)):
        images = torch.from_numpy(arrays[name].reshape(-1, 3, SIDE, SIDE))
        units = network.norm(network.conv((images - mean) / std)).mean((2, 3)).numpy()
        if name == "last":
            units = np.stack([units.reshape(3, 4, 4)[:, u, u] for u in range(4)], 1)
        np.testing.assert_allclose(arrays["traces"][:, :, step], units, rtol=1e-4, atol=1e-5)
    assert made.document.key.layer == "head"
    assert made.document.key.width == 4


def test_default_units_are_drawn_from_the_layers_width(tmp_path: Path) -> None:
    made = make(tmp_path / "out", units=None, steps=1, starts=["noise"])
    assert set(made.document.key.units) <= {1, 2, 3}
    assert len(set(made.document.key.units)) == len(made.document.key.units)


def test_the_same_call_keeps_what_is_there(tmp_path: Path) -> None:
    first = make(tmp_path / "out")
    before = {name: (first.folder / name).stat().st_mtime_ns for name in FILES}
    again = make(tmp_path / "out", batch_size=6)  # no part of what they are
    assert not again.created
    assert again.document == first.document
    assert {name: (first.folder / name).stat().st_mtime_ns for name in FILES} == before


@pytest.mark.parametrize(
    ("other", "difference"),
    [
        ({"steps": 4}, "settings.steps is 3 there, 4 here"),
        ({"seed": 1}, "engine.model_sha256 is"),
        ({"units": [3, 0]}, "units is [0, 3] there, [3, 0] here"),
        ({"starts": ["noise"]}, "starts is"),
    ],
)
def test_a_folder_with_other_images_is_refused_with_what_differs(
    tmp_path: Path, other: dict[str, Any], difference: str
) -> None:
    make(tmp_path / "out")
    with pytest.raises(RunMismatchError) as error:
        make(tmp_path / "out", **other)
    assert difference in one_line(error)


@dataclass
class Killed:
    """Progress that ends the process, as far as a test may, once so many steps are done."""

    at: int = 10**9
    told: list[tuple[str, int, int, str]] = field(default_factory=list)

    def note(self, text: str) -> None:
        pass

    def advance(self, step: str, done: int, total: int, unit: str) -> None:
        self.told.append((step, done, total, unit))
        if done >= self.at:
            raise KeyboardInterrupt


def test_what_was_killed_is_continued_and_nothing_is_half_written(tmp_path: Path) -> None:
    whole = make(tmp_path / "whole")
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        make(out, progress=Killed(at=11))  # of 18, at the end of the second batch
    parts = {"part-000-000000.npz", "part-000-000003.npz"}
    assert files_in(out) == {"maximizing.json", *parts}
    (out / ".part-001-000000.npz.0123abcd.tmp").write_bytes(b"half")
    progress = Killed()
    again = make(out, progress=progress)
    assert again.created
    assert progress.told[0] == ("maximize", 3 * len(parts), 18, "steps")
    assert max(done for step, done, *_ in progress.told if step == "maximize") == 18
    assert files_in(out) == FILES
    one, other = (np.load(folder / "maximized.npz") for folder in (whole.folder, out))
    for name in one.files:
        np.testing.assert_array_equal(one[name], other[name])
    assert again.document.images == whole.document.images


def test_a_command_killed_while_it_writes_its_results_is_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr("evaluator.workflow.maximize.results.write_document", killed)
        with pytest.raises(KeyboardInterrupt):
            make(out)
    assert files_in(out) >= {"maximizing.json", "maximized.npz", "maximized.png", "last.png"}
    assert len(list(out.glob("part-*.npz"))) == 6
    progress = Killed()
    assert make(out, progress=progress).created
    told = [one for one in progress.told if one[0] == "maximize"]
    assert told == [("maximize", 18, 18, "steps")]  # nothing was made again
    assert files_in(out) == FILES


def test_a_command_killed_before_it_tidied_up_is_tidied_by_the_next(tmp_path: Path) -> None:
    out = make(tmp_path / "out").folder
    (out / "part-000-000000.npz").write_bytes(b"")
    (out / "maximizing.json").write_bytes(b"")
    assert not make(out).created
    assert files_in(out) == FILES


def test_a_damaged_part_is_named(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        make(out, progress=Killed(at=11))
    part = out / "part-000-000003.npz"
    part.write_bytes(part.read_bytes()[:100])
    with pytest.raises(InputError, match=r"part-000-000003.npz is damaged: .*Remove it and run"):
        make(out)
    part.unlink()
    assert make(out).created


def test_another_command_does_not_continue_what_was_begun(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        make(out, progress=Killed(at=11))
    with pytest.raises(
        RunMismatchError, match=r"contains other maximizing images: settings\.epsilon"
    ):
        make(out, epsilon=0.5)
    (out / "maximizing.json").unlink()
    with pytest.raises(OutputError, match=r"has neither maximizing\.json"):
        make(out)


def test_a_document_that_was_edited_is_not_believed(tmp_path: Path) -> None:
    out = make(tmp_path / "out").folder
    document = json.loads((out / "maximized.json").read_text())
    document["images"][0]["reached"] = not document["images"][0]["reached"]
    (out / "maximized.json").write_text(json.dumps(document))
    with pytest.raises(InputError, match=r"maximized\.json was edited"):
        make(out)


def test_bounded_units_are_told_before_the_work_and_in_the_document(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = NullProgress()
    made = evaluator.maximize(
        "efficientnet_lite0", out=tmp_path / "out", weights="random", crop_px=SIDE, device="cpu",
        steps=2, units=[1062], starts=["noise"], progress=told,
    )  # fmt: skip
    why = "units lie between 0 and 6, so none of 1280 can exceed p = 0.24"
    assert made.document.impossible == why
    assert (
        f"No image can reach p > 1 - 1e-6: {why}. The images with the greatest p are given."
        in told.notes
    )
    assert not made.document.images[0].reached
    assert made.document.images[0].first_step is None


def test_progress_counts_steps_of_all_images(tmp_path: Path) -> None:
    progress = Killed()
    make(tmp_path / "out", progress=progress)
    told = [one for one in progress.told if one[0] == "maximize"]
    assert told[0] == ("maximize", 0, 18, "steps")
    assert [one[1] for one in told] == [0, 2, 4, 6, 8, 10, 12, 14, 16, 18]


@pytest.mark.gpu
@pytest.mark.skipif(not cuda_devices(), reason="needs a CUDA device")
def test_a_gpu_makes_nearly_the_same_images(tmp_path: Path) -> None:
    one, other = (
        np.load(make(tmp_path / device[:4], device=device, steps=1).folder / "maximized.npz")
        for device in ("cpu", "cuda:0")
    )
    np.testing.assert_allclose(one["traces"], other["traces"], rtol=1e-3, atol=1e-4)
    # A step is +-1/255 or nothing: where rounding flips a sign, two steps lie between.
    apart = np.abs(one["last"] - other["last"])
    assert np.mean(apart > 1e-6) < 0.01


def refused(tmp_path: Path, model: str = "small", **more: Any) -> str:
    options: dict[str, Any] = {"weights": "random", "crop_px": SIDE, "device": "cpu", "steps": 1}
    with pytest.raises(EvaluatorError) as error:
        evaluator.maximize(model, out=tmp_path / "out", **{**options, **more})
    assert not (tmp_path / "out").exists()
    return one_line(error)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"units": [0, 4]}, "There is no unit 4 in small: head reads 4 units, 0 to 3."),
        ({"units": [1, 2, 1]}, "The unit 1 is given twice. Give each unit once."),
        ({"units": []}, "The list of units is empty."),
        ({"starts": ["noise", "noise"]}, "The start noise is given twice."),
        (
            {"starts": ["nowhere.jpg"]},
            "--start nowhere.jpg is not a file. Expected a photo, or the",
        ),
        ({"starts": ["noise"], "data": "photos"}, "--data photos cannot be combined with --start."),
        ({"data": "nowhere"}, "nowhere"),
        ({"data": []}, "No data are given."),
        ({"labels": "list.txt"}, "--labels list.txt requires --data"),
        ({"steps": 0}, "Invalid number of steps: 0."),
        ({"epsilon": 0.0}, "Invalid epsilon: 0."),
        ({"step_size": -1.0}, "Invalid step size: -1."),
        ({"batch_size": -1}, "--batch-size -1 is not possible; expected 1 or more."),
        ({"device": "tpu"}, "There is no device 'tpu'."),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    tmp_path: Path, wrong: dict[str, Any], message: str
) -> None:
    assert message in refused(tmp_path, **wrong)


def test_a_photo_that_cannot_be_decoded_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    message = refused(tmp_path, starts=[tmp_path / "broken.jpg"])
    assert "broken.jpg is not an image that Pillow can identify" in message


def test_a_model_that_exists_only_as_onnx_is_refused(tmp_path: Path) -> None:
    file = ReadyGraph().write(tmp_path / "mine.onnx")
    description(tmp_path / "mine.toml")
    message = refused(tmp_path, str(file), weights="default", crop_px=None)
    assert "exists only as ONNX, and gradients need PyTorch. Give the network's code" in message


def test_a_bundle_stands_for_its_network(bundle: Bundle, tmp_path: Path) -> None:
    made = evaluator.maximize(
        str(bundle.folder), out=tmp_path / "out", steps=1, units=[1], starts=["noise"],
        device="cpu",
    )  # fmt: skip
    assert made.document.weights_sha256 == bundle.model.weights_sha256


@pytest.mark.parametrize("name", ["notes.txt", "part-0.npz", ".hidden"])
def test_a_folder_that_holds_something_else_is_refused(tmp_path: Path, name: str) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / name).write_text("mine")
    with pytest.raises(OutputError) as error:
        make(out)
    assert f"{name} exists and does not belong to maximizing images. Give a new" in one_line(error)
    assert files_in(out) == {name}


def test_an_empty_folder_is_taken_and_a_file_is_not(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert make(tmp_path / "out").created
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match="a folder or a file is in the way"):
        make(tmp_path / "file")


def test_every_field_of_the_results_is_kept_in_a_part(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        make(out, progress=Killed(at=11))
    with np.load(out / "part-000-000000.npz") as part:
        assert set(part.files) == {field.name for field in fields(Maximized)} | {"circumstances"}
