"""What tests of generated trees share: clean photos, a tree's files, and calls that are ended."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

from evaluator.contracts import NullProgress
from evaluator.evaluate.generate.photos import shipped_photos


class Told(NullProgress):
    """Progress that keeps what it was told."""

    def advance(self, step: str, done: int, total: int, unit: str) -> None:
        self.notes.append(f"{step} {done}/{total} {unit}")


class Impatient(NullProgress):
    """Somebody who presses Ctrl-C once the first file is there."""

    def advance(self, step: str, done: int, total: int, unit: str) -> None:
        if step != "read" and done:
            raise KeyboardInterrupt


def photos_in(folder: Path, count: int) -> Path:
    """The first clean photos, in class folders."""
    for photo in shipped_photos()[:count]:
        (folder / photo.id).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(photo.path, folder / photo.id)
    return folder


def files(folder: Path, *variants: str) -> dict[str, bytes]:
    """The bytes of each file by its path in the tree: of some variants, or all but the mark."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.glob("*/**/*")
        if path.is_file()
        and not path.name.startswith(".")
        and (not variants or path.relative_to(folder).parts[0] in variants)
    }


def leftovers(folder: Path) -> list[Path]:
    """What is there under a temporary name."""
    return list(folder.rglob(".*"))


def kill_midway(tree: Path, *words: str) -> None:
    """Run ``evaluator data`` with these words until the tree holds a file; then SIGKILL."""
    process = subprocess.Popen(
        [sys.executable, "-m", "evaluator", "data", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not files(tree) and process.poll() is None:
        time.sleep(0.01)
    process.kill()
    assert process.wait() < 0, "it ended before it was killed"
