"""What ``evaluator score`` does not do before its first batch."""

import subprocess
import sys
from pathlib import Path

from evaluator.contracts import Bundle

NOT_NEEDED = {"torch", "torchvision", "onnx", "onnxscript", "foolbox", "scipy", "timm", "cv2"}


def test_scoring_a_finished_bundle_whose_parity_is_stored_imports_no_framework(
    bundle: Bundle, photos: Path, tmp_path: Path
) -> None:
    assert bundle.model.spec.name == "efficientnet_lite0"
    words = ["score", "efficientnet_lite0", "imagenet", "--data", str(photos)]
    words += ["--out", str(tmp_path / "run"), "--engine", "onnxruntime", "--device", "cpu"]
    code = (
        "import sys; from evaluator.cli import app\n"
        f"try: app({words!r})\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        f"needless = {NOT_NEEDED} & set(sys.modules)\n"
        "assert not needless, needless\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "parity passed" in done.stderr
    assert "score: 20 of 20 images" in done.stderr
