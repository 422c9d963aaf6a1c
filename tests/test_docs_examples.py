"""The examples of README and ``docs/``, run in their order in one folder.

Examples that need a data set, a download or a GPU are only parsed, by ``test_docs.py``.
"""

import re
import shlex
import shutil
from pathlib import Path

import pytest

import evaluator
from evaluator.tests.command_line import run

ROOT = Path(evaluator.__file__).parent
PAGES = (
    *("README.md", "docs/data.md", "docs/public-data.md", "docs/reports.md"),
    *("docs/precision-and-tensorrt.md", "docs/parity-in-ci.md", "docs/attacks.md"),
    *("docs/own-models.md", "docs/gpu.md", "docs/reproduce.md", "docs/engines.md"),
    *("docs/release-gate.md", "docs/paper.md"),
)

NOT_RUN = {
    "/data/": "needs a data set",
    "data fetch imagenet": "downloads a data set",
    r"\.tar": "needs a data set",
    r"0\.002,0\.005": "takes minutes",
    "resnet|resnext|alexnet": "needs weights that are downloaded",
    "tensorrt|cuda": "needs TensorRT or a GPU",
    "mynet": "needs the files that its page writes",
    "reproduce": "takes minutes; tests/workflow/reproduce does it with less",
    "demo": "needs the folder that `make demo` makes",
    "normalize-by": "needs a run of AlexNet",
    "cache prune": "would remove what other tests need",
}
"""Why an example is not run, by what it contains."""


def examples() -> list[str]:
    """Every example that begins with ``evaluator``."""
    texts = ((ROOT / page).read_text() for page in PAGES)
    found = (re.findall(r"^\$ (evaluator .*)", text, re.MULTILINE) for text in texts)
    return list(dict.fromkeys(shlex.join(shlex.split(e, comments=True)) for f in found for e in f))


def why_not(example: str) -> str | None:
    """Why an example is not run; ``None`` if it is."""
    reasons = (reason for part, reason in NOT_RUN.items() if re.search(part, example))
    return next(reasons, None)


RUN = [example for example in examples() if why_not(example) is None]


def test_all_pages_with_examples_are_read() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    having = {p for p in pages if re.search(r"^\$ evaluator ", p.read_text(), re.MULTILINE)}
    assert having <= {ROOT / page for page in PAGES}


def test_many_examples_are_run() -> None:
    unused = {part for part in NOT_RUN if not any(re.search(part, e) for e in examples())}
    assert not unused
    assert len(RUN) >= 20


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what examples take for granted: two runs, a bundle, a photo and rules."""
    folder = tmp_path_factory.mktemp("examples")
    photos = folder / "sample"
    evaluator.sample_photos(photos)
    for name, crop_px in (("efficientnet_lite0", None), ("efficientnet_lite1", 224)):
        evaluator.score(name, "imagenet", photos, out=folder / "runs" / name, crop_px=crop_px)
    evaluator.export_model("efficientnet_lite0", out=folder / "my-bundle")
    page = (ROOT / "docs" / "release-gate.md").read_text()
    (folder / "rules.toml").write_text(page.partition("```toml\n")[2].partition("```")[0])
    shutil.copy(next(photos.rglob("*.JPEG")), folder / "photo.jpg")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("example", RUN)
def test_an_example_runs(folder: Path, example: str) -> None:
    done = run(*shlex.split(example)[1:], cwd=folder)
    assert done.returncode == 0, done.stderr
