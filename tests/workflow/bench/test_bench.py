"""``bench`` measures the product's own loop, and says what holds it up."""

import json
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

import evaluator
from evaluator.cli.bench import bench_table
from evaluator.cli.console import print_tables
from evaluator.contracts import Bundle, Engine, ImageBatch, Item, NullProgress
from evaluator.engine.devices import cpu
from evaluator.engine.onnx_engine import OnnxEngine
from evaluator.errors import EngineUnavailableError, InputError
from evaluator.evaluate.benchmarks.table import find_benchmark
from evaluator.evaluate.scoring import ScoringJob, decoder_pool
from evaluator.evaluate.sources.folder import FolderSource
from evaluator.workflow.bench.timing import Bed, bed_of, timed


class Slow(OnnxEngine):
    """An engine that sleeps before each answer."""

    sleep_seconds = 0.05

    def stream(
        self, batches: Iterable[ImageBatch]
    ) -> Iterator[tuple[ImageBatch, npt.NDArray[np.float32]]]:
        import time

        for batch, logits in super().stream(batches):
            time.sleep(self.sleep_seconds)
            yield batch, logits


def bed(engine: Engine, photos: Path, bundle: Bundle, stack: ExitStack) -> Bed:
    what = find_benchmark("imagenet")
    source = FolderSource(photos, what.conditions)
    job = ScoringJob(
        benchmark=what,
        engine=engine,
        source=source,
        items={what.conditions[0]: source.items(what.conditions[0])},
        preprocessing=bundle.model.spec.preprocessing,
        batch_size=2,
        decoders=stack.enter_context(decoder_pool(engine)),
    )
    return bed_of(job)


def test_a_bench_tells_all_its_parts_and_needs_no_parity(bundle: Bundle) -> None:
    result = evaluator.bench("efficientnet_lite0", engine="onnxruntime", device="cpu", seconds=0.2)
    assert result.parity == "passed"  # known from the export; nothing was measured for it
    assert (result.batch_size, result.images) == (4, 20)
    assert result.data == "20 sample photos as JPEGs of 224 px"
    rates = (result.engine_only, result.end_to_end, result.data_only)
    assert all(0 < r.low <= r.images_per_second <= r.high and r.rounds == 5 for r in rates)
    assert 0 < result.latency.p50_ms <= result.latency.p90_ms <= result.latency.p99_ms
    document = json.loads(json.dumps(result.document(), allow_nan=False))
    assert document["schema"] == 1
    assert document["engine"]["backend"] == "onnxruntime"
    assert document["bottleneck"]["part"] in ("engine", "data", "loop")
    print_tables([bench_table(result)])


def test_photos_of_a_folder_are_decoded_through_a_single_caller(photos: Path) -> None:
    result = evaluator.bench(
        "efficientnet_lite0",
        data=photos,
        benchmark="imagenet",
        engine="torch",
        device="cpu",
        batch_size=2,
        seconds=0.2,
    )
    assert (result.parity, result.callers) == ("reference", 1)
    assert result.data == "20 images of --data as photos"


def test_the_engine_and_the_data_side_are_told_apart(bundle: Bundle, photos: Path) -> None:
    # 2 callers x 2 images in at least 0.05 s: 80 images/s at most; the data side does not sleep.
    with ExitStack() as stack:
        engine = stack.enter_context(Slow(bundle, cpu()))
        times = timed(bed(engine, photos, bundle, stack), 0.1, NullProgress())
    most = engine.callers * 2 / Slow.sleep_seconds
    assert max(times.engine.high, times.whole.high) <= most * 1.01
    assert min(times.latencies) >= 0
    assert times.engine.rounds == times.whole.rounds == times.data.rounds == 5


def test_the_first_batches_are_the_decoded_photos(bundle: Bundle, photos: Path) -> None:
    with ExitStack() as stack:
        engine = stack.enter_context(OnnxEngine(bundle, cpu()))
        found = bed(engine, photos, bundle, stack).batches
    source = FolderSource(photos, find_benchmark("imagenet").conditions)
    ids = [item.id for item in source.items(find_benchmark("imagenet").conditions[0])]
    assert [item.id for batch in found for item in batch.items] == ids[:8]
    assert all(isinstance(item, Item) for batch in found for item in batch.items)
    assert len({batch.data.tobytes() for batch in found}) == len(found)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seconds": 0}, "--seconds 0 is not possible"),
        ({"batch_size": 5000}, "--batch-size 5000 is not possible; expected 1 to 1024"),
        ({"benchmark": "imagenet-z"}, "imagenet-z"),
        ({"data": "nowhere"}, "nowhere does not exist"),
        ({"engine": "onxruntime"}, "no engine 'onxruntime'"),
    ],
)
def test_bad_input_is_one_line(bundle: Bundle, options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message) as raised:
        evaluator.bench("efficientnet_lite0", device="cpu", **options)  # type: ignore[arg-type]
    assert "\n" not in str(raised.value)


def test_data_of_another_benchmark_say_so(bundle: Bundle, photos: Path) -> None:
    with pytest.raises(InputError, match="--benchmark"):
        evaluator.bench("efficientnet_lite0", data=photos, device="cpu")


@pytest.mark.skipif(find_spec("openvino") is None, reason="the extra openvino is not installed")
def test_an_engine_that_cannot_compute_in_a_precision_refuses_before_an_export() -> None:
    with pytest.raises(EngineUnavailableError, match="no fp16"):
        evaluator.bench("efficientnet_lite0", engine="openvino", precision="fp16")


def test_flat_photos_are_benched_with_a_list_of_their_classes(photos: Path, tmp_path: Path) -> None:
    found = sorted(photos.rglob("*.JPEG"))
    folder, labels = tmp_path / "flat", tmp_path / "labels.txt"
    folder.mkdir()
    names = [f"ILSVRC2012_val_{number:08d}.JPEG" for number in range(1, len(found) + 1)]
    for name, photo in zip(names, found, strict=True):
        (folder / name).write_bytes(photo.read_bytes())
    lines = [f"{name} {photo.parent.name}" for name, photo in zip(names, found, strict=True)]
    labels.write_text("\n".join(lines))
    result = evaluator.bench(
        "efficientnet_lite0",
        data=folder,
        benchmark="imagenet",
        labels=labels,
        engine="onnxruntime",
        device="cpu",
        seconds=0.2,
    )
    assert result.images == len(found)
