"""ONNX files that are ready: what is taken, what is refused, and the bundles made of them."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from evaluator.contracts import ClassOrder, GraphKind, ImageBatch, Item, ModelSpec, ReadyOnnx
from evaluator.engine.devices import cpu
from evaluator.engine.original_onnx import OriginalOnnx
from evaluator.errors import EvaluatorError, InputError, OutputError
from evaluator.exporter.bundle import open_bundle
from evaluator.exporter.description import read_description
from evaluator.exporter.graph.cost import model_gmac
from evaluator.exporter.graph.deployable import preprocessing_in_graph, scale_and_bias
from evaluator.exporter.ready_bundle import write_ready_bundle
from evaluator.exporter.ready_onnx import onnx_notes
from evaluator.exporter.spec import identity, model_spec
from evaluator.tests.ready_graphs import SIDE, Array, ReadyGraph, description


def spec_of(path: Path, lines: str = 'input = "normalized"', **options: Any) -> ModelSpec:
    described = read_description(description(path.with_suffix(".toml"), lines))
    return model_spec(str(path), description=described, **options)


def pixels(n: int = 3) -> Array:
    return np.random.default_rng(1).integers(0, 256, (n, SIDE, SIDE, 3), np.uint8)


def run(bundle: Path, images: Array) -> Array:
    session = onnxruntime.InferenceSession(
        str(bundle / "model.onnx"), providers=["CPUExecutionProvider"]
    )
    (value,), (logits,) = session.get_inputs(), session.get_outputs()
    assert (value.name, value.shape, value.type) == (
        "pixels", ["N", SIDE, SIDE, 3], "tensor(uint8)"
    )  # fmt: skip
    assert (logits.name, logits.shape) == ("logits", ["N", 1000])
    result: Array = session.run(None, {"pixels": images})[0]
    return result


def taken(takes: str, images: Array) -> Array:
    """What the graph is fed, (N, 3, S, S): written out, with the numbers of the description."""
    values = images.transpose(0, 3, 1, 2).astype(np.float64)
    if takes == "normalized":
        mean = np.array([0.4, 0.5, 0.6]).reshape(3, 1, 1)
        values = (values / 255 - mean) / np.array([0.2, 0.25, 0.3]).reshape(3, 1, 1)
    if takes == "images":
        values = values / 255
    return values.astype(np.float32)


KINDS = [
    ("normalized", "nchw", TensorProto.FLOAT),
    ("normalized", "nhwc", TensorProto.FLOAT),
    ("images", "nchw", TensorProto.FLOAT),
    ("images", "nhwc", TensorProto.FLOAT),
    ("pixels", "nchw", TensorProto.FLOAT),
    ("pixels", "nhwc", TensorProto.FLOAT),
    ("pixels", "nchw", TensorProto.UINT8),
    ("pixels", "nhwc", TensorProto.UINT8),
]


@pytest.mark.parametrize(("takes", "layout", "kind"), KINDS)
def test_a_bundle_gives_the_graphs_logits_for_pixels(
    takes: str, layout: str, kind: int, tmp_path: Path
) -> None:
    graph = ReadyGraph(layout=layout, kind=kind, scale=1 / 255 if takes == "pixels" else 1)
    spec = spec_of(graph.write(tmp_path / "mine.onnx"), f'input = "{takes}"')
    bundle = write_ready_bundle(spec, tmp_path / "bundle")
    images = pixels()
    found, expected = run(bundle.folder, images), graph.logits(taken(takes, images))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    assert isinstance(spec.own, ReadyOnnx)
    assert (spec.own.layout, bundle.model.opset, bundle.model.input_kind) == (layout, 17, "pixels")


@pytest.mark.parametrize(("takes", "layout", "kind"), KINDS)
def test_the_reference_runs_the_original_file_on_images_of_its_own_making(
    takes: str, layout: str, kind: int, tmp_path: Path
) -> None:
    graph = ReadyGraph(layout=layout, kind=kind, behind=(("Softmax", {"axis": 1}),))
    path = graph.write(tmp_path / "mine.onnx")
    spec = replace(spec_of(path, f'input = "{takes}"'), class_order=ClassOrder(tuple(BACKWARDS)))
    images = pixels()
    found = by_reference(path, spec, images)
    expected = graph.logits(taken(takes, images))[:, ::-1]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_pixels_that_are_only_cast_never_become_whole_numbers_again(
    layout: str, tmp_path: Path
) -> None:
    # TensorRT takes uint8 at the input alone.
    path = ReadyGraph(layout=layout, kind=TensorProto.UINT8).write(tmp_path / "mine.onnx")
    bundle = write_ready_bundle(spec_of(path, 'input = "pixels"'), tmp_path / "bundle")
    casts = [node for node in onnx.load(str(bundle.graph)).graph.node if node.op_type == "Cast"]
    assert {node.attribute[0].i for node in casts} == {TensorProto.FLOAT}


def test_pixels_that_are_computed_with_stay_whole_numbers(tmp_path: Path) -> None:
    model = ReadyGraph(kind=TensorProto.UINT8).model()
    # 255 + 255 is 254 in whole numbers.
    model.graph.node.insert(0, helper.make_node("Add", ["data", "data"], ["twice"]))
    model.graph.node[1].input[0] = "twice"
    (tmp_path / "mine.onnx").write_bytes(model.SerializeToString())
    spec = spec_of(tmp_path / "mine.onnx", 'input = "pixels"')
    bundle = write_ready_bundle(spec, tmp_path / "bundle")
    twice = (2 * pixels().astype(np.int64) % 256).transpose(0, 3, 1, 2).astype(np.float32)
    expected = ReadyGraph().logits(twice)
    np.testing.assert_allclose(run(bundle.folder, pixels()), expected, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize(("takes", "layout", "kind"), KINDS[:6])
def test_a_bundle_may_take_images(takes: str, layout: str, kind: int, tmp_path: Path) -> None:
    graph = ReadyGraph(layout=layout, kind=kind, scale=1 / 255 if takes == "pixels" else 1)
    spec = spec_of(graph.write(tmp_path / "mine.onnx"), f'input = "{takes}"')
    bundle = write_ready_bundle(spec, tmp_path / "bundle", GraphKind("fp32", "images"))
    assert bundle.model.input_kind == "images"
    session = onnxruntime.InferenceSession(str(bundle.graph), providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape == ["N", 3, SIDE, SIDE]
    images = (pixels().transpose(0, 3, 1, 2) / 255).astype(np.float32)
    (found,) = session.run(None, {"images": images})
    np.testing.assert_allclose(found, graph.logits(taken(takes, pixels())), rtol=1e-4, atol=1e-4)
    scale, _ = preprocessing_in_graph(bundle.graph, "images")
    np.testing.assert_array_equal(scale, scale_and_bias(spec.preprocessing, "images")[0])


def test_a_graph_of_whole_numbers_takes_no_images(tmp_path: Path) -> None:
    path = ReadyGraph(kind=TensorProto.UINT8).write(tmp_path / "mine.onnx")
    with pytest.raises(InputError, match="takes pixels in whole numbers"):
        write_ready_bundle(
            spec_of(path, 'input = "pixels"'), tmp_path / "b", GraphKind("fp32", "images")
        )


def test_the_preprocessing_can_be_read_back(tmp_path: Path) -> None:
    spec = spec_of(ReadyGraph(layout="nhwc").write(tmp_path / "mine.onnx"))
    bundle = write_ready_bundle(spec, tmp_path / "bundle")
    scale, bias = preprocessing_in_graph(bundle.graph)
    expected = [1 / (255 * 0.2), 1 / (255 * 0.25), 1 / (255 * 0.3)]
    np.testing.assert_array_equal(scale, np.array(expected, np.float32))
    expected = [-0.4 / 0.2, -0.5 / 0.25, -0.6 / 0.3]
    np.testing.assert_array_equal(bias, np.array(expected, np.float32))


BACKWARDS = range(999, -1, -1)


def test_the_logits_are_brought_into_imagenets_order_inside_the_graph(tmp_path: Path) -> None:
    graph = ReadyGraph(outputs=1001)
    order = ClassOrder((-1, *BACKWARDS))
    spec = spec_of(graph.write(tmp_path / "mine.onnx"), class_order=order)
    bundle = write_ready_bundle(spec, tmp_path / "bundle")
    expected = graph.logits(taken("normalized", pixels()))[:, :0:-1]
    np.testing.assert_allclose(run(bundle.folder, pixels()), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("names", [("pixels", "logits"), ("logits", "pixels"), ("x", "pixels")])
def test_tensors_may_be_called_as_the_bundles_own_are(
    names: tuple[str, str], tmp_path: Path
) -> None:
    graph = ReadyGraph(names=names)
    bundle = write_ready_bundle(spec_of(graph.write(tmp_path / "mine.onnx")), tmp_path / "bundle")
    expected = graph.logits(taken("normalized", pixels()))
    np.testing.assert_allclose(run(bundle.folder, pixels()), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "behind", [(("Softmax", {"axis": 1}),), (("Softmax", {"axis": 1}), ("Identity", {}))]
)
def test_a_softmax_at_the_end_is_left_out_and_told(behind: Any, tmp_path: Path) -> None:
    graph = ReadyGraph(behind=behind)
    spec = spec_of(graph.write(tmp_path / "mine.onnx"))
    bundle = write_ready_bundle(spec, tmp_path / "bundle")
    expected = graph.logits(taken("normalized", pixels()))
    np.testing.assert_allclose(run(bundle.folder, pixels()), expected, rtol=1e-4, atol=1e-4)
    assert any(
        "ends in a softmax, which is removed: the logits are step5" in n for n in onnx_notes(spec)
    )


SOFTMAX = ("Softmax", {"axis": 1})
ENDS: tuple[Any, ...] = (
    (("Unsqueeze", {}),),
    (("Unsqueeze", {}), SOFTMAX),
    (("Unsqueeze", {}), SOFTMAX, ("Flatten", {"axis": 1})),
    (SOFTMAX, ("Unsqueeze", {})),
    (SOFTMAX, ("Unsqueeze", {}), ("Squeeze", {}), ("Identity", {})),
    (SOFTMAX, ("Reshape", {})),
)


@pytest.mark.parametrize("behind", ENDS)
def test_logits_of_more_axes_are_flattened_and_a_softmax_before_a_reshape_is_left_out(
    behind: Any, tmp_path: Path
) -> None:
    graph = ReadyGraph(behind=behind)
    graph.weights["one_row"] = np.array([0, -1], np.int64)
    path = graph.write(tmp_path / "mine.onnx")
    expected = graph.logits(taken("normalized", pixels()))
    for name, order in (("plain", None), ("ordered", ClassOrder(tuple(BACKWARDS)))):
        spec = spec_of(path, class_order=order)
        assert isinstance(spec.own, ReadyOnnx)
        assert spec.own.softmax == (SOFTMAX in behind)
        bundle = write_ready_bundle(spec, tmp_path / name)
        of_order = expected if order is None else expected[:, ::-1]
        for found in (run(bundle.folder, pixels()), by_reference(path, spec, pixels())):
            np.testing.assert_allclose(found, of_order, rtol=1e-4, atol=1e-4)
        assert {file.name for file in bundle.folder.iterdir()} <= {
            "model.onnx", "model.onnx.data", "model.json"
        }  # fmt: skip


def by_reference(path: Path, spec: ModelSpec, images: Array) -> Array:
    with OriginalOnnx(path, spec, cpu()) as engine:
        batch = ImageBatch(images, "pixels", (Item("a", None, ""),) * len(images))
        ((_, logits),) = engine.stream([batch])
    return logits


GROUPS: tuple[Any, ...] = (("Reshape", {}), ("Softmax", {"axis": -1}), ("Flatten", {"axis": 1}))


def test_a_softmax_over_some_of_the_classes_is_not_left_out(tmp_path: Path) -> None:
    graph = ReadyGraph(behind=GROUPS)
    graph.weights["one_row"] = np.array([0, 1, 10, 100], np.int64)
    spec = spec_of(graph.write(tmp_path / "mine.onnx"))
    with pytest.raises(InputError, match=r"gives float32 \[1, 1, 10, 100\] for 1 image"):
        write_ready_bundle(spec, tmp_path / "bundle")
    graph = ReadyGraph(behind=(("Unsqueeze", {}), ("Softmax", {"axis": -1})))
    spec = spec_of(graph.write(tmp_path / "ones.onnx"))
    with pytest.raises(InputError, match="a softmax that is not over all its classes") as caught:
        write_ready_bundle(spec, tmp_path / "bundle")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(("takes", "layout", "kind"), KINDS)
def test_channels_are_reversed_behind_the_normalisation(
    takes: str, layout: str, kind: int, tmp_path: Path
) -> None:
    graph = ReadyGraph(layout=layout, kind=kind, scale=1 / 255 if takes == "pixels" else 1)
    path = graph.write(tmp_path / "mine.onnx")
    spec = spec_of(path, f'channels = "bgr"\ninput = "{takes}"')
    assert spec.prepared.text == "The network is given its channels in the order B, G, R."
    bundle = write_ready_bundle(spec, tmp_path / "bundle")
    expected = graph.logits(np.ascontiguousarray(taken(takes, pixels())[:, ::-1]))
    for found in (run(bundle.folder, pixels()), by_reference(path, spec, pixels())):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    scale, bias = preprocessing_in_graph(bundle.graph, "pixels", "bgr")
    np.testing.assert_array_equal((scale, bias), scale_and_bias(spec.preprocessing))
    assert identity(spec) != identity(spec_of(path, f'input = "{takes}"'))


def test_what_exists_only_as_onnx_is_told(tmp_path: Path) -> None:
    path = ReadyGraph().write(tmp_path / "mine.onnx")
    (only,) = onnx_notes(spec_of(path))
    assert "its reference is the original file in ONNX Runtime on the CPU in float32" in only
    assert "Gradients need PyTorch" in only
    assert "normalises by itself" in onnx_notes(spec_of(path, 'input = "images"'))[1]
    assert onnx_notes(model_spec("resnet50")) == []


def test_weights_that_are_listed_as_inputs_are_no_images(tmp_path: Path) -> None:
    # As all exporters did before 2019.
    model = ReadyGraph().model()
    model.ir_version = 3
    for tensor in model.graph.initializer:
        value = helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        model.graph.input.insert(0, value)
    (tmp_path / "mine.onnx").write_bytes(model.SerializeToString())
    bundle = write_ready_bundle(spec_of(tmp_path / "mine.onnx"), tmp_path / "bundle")
    expected = ReadyGraph().logits(taken("normalized", pixels()))
    np.testing.assert_allclose(run(bundle.folder, pixels()), expected, rtol=1e-4, atol=1e-4)


# ---------------------------------------------------------------------------------- external data


def spread(folder: Path) -> Path:
    """The small graph with a file for each tensor, one of them in a folder and with an offset."""
    folder.mkdir()
    model = ReadyGraph().model()
    for tensor in model.graph.initializer:
        content, offset = numpy_helper.to_array(tensor).tobytes(), 0
        location = f"{tensor.name}.bin"
        if tensor.name == "head":
            (folder / "large").mkdir()
            location, offset = "large/head.bin", 64
        (folder / location).write_bytes(b"\xff" * offset + content)
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=location)
        if offset:
            tensor.external_data.add(key="offset", value=str(offset))
            tensor.external_data.add(key="length", value=str(len(content)))
    (folder / "mine.onnx").write_bytes(model.SerializeToString())
    return folder / "mine.onnx"


def test_external_data_are_brought_into_one_file_beside_the_graph(tmp_path: Path) -> None:
    path = spread(tmp_path / "original")
    bundle = write_ready_bundle(spec_of(path), tmp_path / "bundle")
    assert {p.name for p in bundle.folder.iterdir()} == {
        "model.onnx", "model.onnx.data", "model.json"
    }  # fmt: skip
    assert bundle.graph.stat().st_size < 4096
    shutil.rmtree(tmp_path / "original")
    expected = ReadyGraph().logits(taken("normalized", pixels()))
    np.testing.assert_allclose(run(bundle.folder, pixels()), expected, rtol=1e-4, atol=1e-4)
    data = bundle.folder / "model.onnx.data"
    data.write_bytes(data.read_bytes()[:-1] + b"!")
    with pytest.raises(InputError, match="was changed after it was exported"):
        open_bundle(bundle.folder)


def test_the_hash_is_over_graph_and_data(tmp_path: Path) -> None:
    path = spread(tmp_path / "original")
    before = spec_of(path)
    kernel = path.parent / "kernel.bin"
    kernel.write_bytes(kernel.read_bytes()[:-1] + b"!")
    assert spec_of(path).weights.sha256 != before.weights.sha256
    with pytest.raises(InputError, match="is not the file that mine was made from"):
        write_ready_bundle(before, tmp_path / "bundle")
    path.unlink()
    with pytest.raises(InputError, match=r"mine\.onnx, no longer exists"):
        write_ready_bundle(before, tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


def test_the_same_file_elsewhere_is_the_same_model(tmp_path: Path) -> None:
    here = spec_of(spread(tmp_path / "here"))
    there = spec_of(spread(tmp_path / "there"))
    assert here != there
    assert identity(here) == identity(there)


def test_data_that_are_missing_elsewhere_or_cut_off_are_refused(tmp_path: Path) -> None:
    path = spread(tmp_path / "original")
    kernel = path.parent / "kernel.bin"
    spec = spec_of(path)
    (path.parent / "large" / "head.bin").write_bytes(b"\xff" * 100)
    with pytest.raises(InputError, match=r"head\.bin is shorter than its graph says: head lacks"):
        write_ready_bundle(spec_of(path), tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()
    kernel.rename(tmp_path / "kernel.bin")
    with pytest.raises(InputError, match=r"needs kernel\.bin beside it, which holds its weights"):
        spec_of(path)
    model = onnx.load(str(path), load_external_data=False)
    for location in ("../kernel.bin", str(tmp_path / "kernel.bin")):
        model.graph.initializer[0].external_data[0].value = location
        path.write_bytes(model.SerializeToString())
        with pytest.raises(InputError, match="expected a file beside it"):
            spec_of(path)
    assert spec.name == "mine"


# ------------------------------------------------------------------------------------ what is wrong


def half(model: Any) -> None:
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor).astype(np.float16)
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def quantised(model: Any) -> None:
    model.graph.node[0].op_type = "QLinearConv"


def two_inputs(model: Any) -> None:
    model.graph.input.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, [1]))


def two_outputs(model: Any) -> None:
    model.graph.output.append(helper.make_tensor_value_info("step4", TensorProto.FLOAT, None))


def whole_numbers(model: Any) -> None:
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64


def unchanged(model: Any) -> None:
    pass


@pytest.mark.parametrize(
    ("graph", "change", "lines", "message"),
    [
        (ReadyGraph(batch=1), unchanged, "", r"takes batches of exactly 1\. Export it with a dyn"),
        (ReadyGraph(dims=("N", 1, 64, 64)), unchanged, "", r"\['N', 1, 64, 64\], expected nchw or"),
        (ReadyGraph(dims=("N", 3, 32, 32)), unchanged, "", r"3 channels of 64 px, as given by"),
        (ReadyGraph(), unchanged, 'layout = "nhwc"', r"expected nhwc with 3 channels of 64 px"),
        (ReadyGraph(dims=("N", "C", "H", "W")), unchanged, "", r"input fits two layouts"),
        (ReadyGraph(dims=("N", 12288)), unchanged, "", r"takes \[0, 12288\], expected images"),
        (ReadyGraph(kind=TensorProto.UINT8), unchanged, "", r"takes uint8, expected float32 for"),
        (ReadyGraph(opset=6), unchanged, "", r"has opset 6, expected at least 7"),
        (ReadyGraph(), half, "", r"weights in float16, expected float32"),
        (ReadyGraph(), quantised, "", r"is quantised \(QLinearConv\), expected float32"),
        (ReadyGraph(), two_inputs, "", r"has 2 inputs \(data, mask\), expected one"),
        (ReadyGraph(), two_outputs, "", r"has 2 outputs \(scores, step4\)\. Expected output ="),
        (ReadyGraph(), unchanged, 'output = "score"', r"no output 'score'\. Did you mean 'scores'"),
        (ReadyGraph(), whole_numbers, "", r"scores of .* is int64, expected float32 logits"),
        (ReadyGraph(), unchanged, "trained = true", r"trained is for factories"),
        (ReadyGraph(), unchanged, 'name = "resnet50"', r"resnet50 belongs to a model of"),
    ],
)  # fmt: skip
def test_a_graph_that_is_not_what_is_needed_is_refused_in_one_line(
    graph: ReadyGraph, change: Any, lines: str, message: str, tmp_path: Path
) -> None:
    model = graph.model()
    change(model)
    (tmp_path / "mine.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match=message) as caught:
        spec_of(tmp_path / "mine.onnx", 'input = "normalized"\n' + lines)
    assert str(caught.value).isprintable()


REDUCE: tuple[Any, ...] = (("Exp", {}), ("LpNormalization", {"axis": 1, "p": 1}))


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (ReadyGraph(outputs=10), r"gives 10 logits, but the benchmarks have ImageNet's 1000"),
        (ReadyGraph(outputs=1001), r"gives 1,001 logits.* with --classes FILE"),
        (ReadyGraph(behind=(("Flatten", {"axis": 0}),)), r"float32 \[1, 3000\] for 3 image"),
        (ReadyGraph(behind=(("Reshape", {}),)), r"does not run in ONNX Runtime on 3 image"),
        (ReadyGraph(behind=(("ArgMax", {"axis": 1}),)), r"ONNX Runtime does not load mine: "),
        (ReadyGraph(behind=REDUCE), r"gives probabilities, expected logits, and its graph does"),
        (
            ReadyGraph(behind=(("NoSuchOperator", {}),)),
            r"does not load mine: .*NoSuchOp",
        ),
    ],
)
def test_a_graph_that_gives_no_logits_is_found_out_by_running_it(
    graph: ReadyGraph, message: str, tmp_path: Path
) -> None:
    spec = spec_of(graph.write(tmp_path / "mine.onnx"))
    with pytest.raises(InputError, match=message) as caught:
        write_ready_bundle(spec, tmp_path / "bundle")
    assert str(caught.value).isprintable()
    assert not (tmp_path / "bundle").exists()


def test_a_dynamic_size_is_taken_at_the_crop_that_is_asked_for(tmp_path: Path) -> None:
    path = ReadyGraph(dims=("N", 3, "H", "W")).write(tmp_path / "mine.onnx")
    assert spec_of(path, crop_px=32).preprocessing.crop_px == 32
    with pytest.raises(InputError, match="3 channels of 32 px"):
        spec_of(ReadyGraph().write(path), crop_px=32)


@pytest.mark.parametrize("content", [b"", b"no graph", b"\x08\x07"])
def test_a_file_that_is_no_onnx_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "mine.onnx").write_bytes(content)
    with pytest.raises(InputError, match=r"mine\.onnx is not an ONNX file") as caught:
        spec_of(tmp_path / "mine.onnx")
    assert str(caught.value).isprintable()


def test_words_that_do_not_go_with_a_file_are_refused(tmp_path: Path) -> None:
    path = ReadyGraph().write(tmp_path / "mine.onnx")
    described = read_description(description(tmp_path / "mine.toml"))
    with pytest.raises(InputError, match="holds its weights: omit --weights"):
        model_spec(str(path), weights="random", description=described)
    with pytest.raises(InputError, match=r"needs a description .*: mine\.toml beside it, or"):
        model_spec(str(path))
    with pytest.raises(InputError, match="There is no ONNX file"):
        model_spec(str(tmp_path / "nowhere.onnx"), description=described)
    with pytest.raises(InputError, match='Expected input = "normalized"'):
        model_spec(str(path), description=replace(described, input=None))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(OutputError, match="exists and is not a bundle"):
        write_ready_bundle(spec_of(path), tmp_path / "full")


def test_another_model_in_the_bundles_folder_is_refused(tmp_path: Path) -> None:
    first = spec_of(ReadyGraph().write(tmp_path / "first.onnx"))
    second = spec_of(ReadyGraph(scale=2).write(tmp_path / "second.onnx"))
    write_ready_bundle(first, tmp_path / "bundle")
    write_ready_bundle(first, tmp_path / "bundle")
    with pytest.raises(EvaluatorError, match="is a bundle of another model: first"):
        write_ready_bundle(second, tmp_path / "bundle")


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_what_a_graph_computes_is_counted(layout: str, tmp_path: Path) -> None:
    spec = spec_of(ReadyGraph(layout=layout).write(tmp_path / "mine.onnx"))
    # 8 x 3 x 8 x 8 weights at 8 x 8 places, and the head.
    assert model_gmac(spec) == pytest.approx((1536 * 64 + 8 * 1000) / 1e9)


# --------------------------------------------------------------- bundles of our own, and damage


@pytest.mark.parametrize("takes", ["normalized", "images", "pixels"])
@pytest.mark.parametrize("classes", [None, 1001])
def test_a_bundle_of_an_onnx_file_is_an_onnx_file_too(
    takes: str, classes: int | None, tmp_path: Path
) -> None:
    path = ReadyGraph(outputs=classes or 1000).write(tmp_path / "mine.onnx")
    spec = spec_of(path, f'input = "{takes}"')
    if classes is not None:
        spec = replace(spec, class_order=ClassOrder((-1, *reversed(range(1000)))))
    bundles = [write_ready_bundle(spec, tmp_path / "bundle").folder]
    for number in (2, 3):
        again = spec_of(bundles[-1] / "model.onnx", 'input = "pixels"')
        bundles.append(write_ready_bundle(again, tmp_path / f"bundle{number}").folder)
    images = pixels()
    for bundle in bundles[1:]:
        np.testing.assert_array_equal(run(bundle, images), run(bundles[0], images))
        graph = onnx.load(bundle / "model.onnx").graph
        names = [node.name for node in graph.node if node.name]
        assert len(names) == len(set(names))


def test_a_bundle_that_takes_images_can_be_enclosed_again(tmp_path: Path) -> None:
    spec = spec_of(ReadyGraph().write(tmp_path / "mine.onnx"))
    first = write_ready_bundle(spec, tmp_path / "a", GraphKind("fp32", "images")).folder
    again = spec_of(first / "model.onnx", 'input = "images"')
    second = write_ready_bundle(again, tmp_path / "b").folder
    expected = write_ready_bundle(spec, tmp_path / "c").folder
    np.testing.assert_allclose(run(second, pixels()), run(expected, pixels()), atol=1e-5)


@pytest.mark.parametrize("name", [b"kernel", b"scores", b"Conv", b"step1"])
def test_a_name_that_is_not_utf8_is_one_line(name: bytes, tmp_path: Path) -> None:
    path = ReadyGraph().write(tmp_path / "mine.onnx")
    path.write_bytes(path.read_bytes().replace(name, name[:-1] + b"\xe3"))
    with pytest.raises(
        InputError, match=r"mine\.onnx is damaged: a name in it is not UTF-8"
    ) as caught:
        spec_of(path)
    assert str(caught.value).isprintable()


def test_text_that_nothing_reads_may_have_any_encoding(tmp_path: Path) -> None:
    model = ReadyGraph().model()
    model.doc_string = model.graph.doc_string = "Gros"
    path = tmp_path / "mine.onnx"
    path.write_bytes(model.SerializeToString().replace(b"Gros", b"Gro\xdf"))
    write_ready_bundle(spec_of(path), tmp_path / "bundle")


def test_a_circle_in_a_damaged_graph_ends(tmp_path: Path) -> None:
    model = ReadyGraph(behind=(("Identity", {}),)).model()
    model.graph.node[-1].input[0] = model.graph.node[-1].output[0]
    (tmp_path / "mine.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(EvaluatorError) as caught:
        write_ready_bundle(spec_of(tmp_path / "mine.onnx"), tmp_path / "bundle")
    assert str(caught.value).isprintable()
