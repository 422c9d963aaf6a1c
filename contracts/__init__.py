"""Types that packages exchange: frozen dataclasses and protocols.

N images, C classes, S the crop of the model in pixels. Two image contracts, never mixed:

* **pixels**: (N, S, S, 3) uint8, RGB, exactly as decoded, resized and cropped. Used for scoring.
* **images**: (N, 3, S, S) float32 in [0, 1]. Used for gradients; normalisation is in the model.

Rates are fractions, lengths pixels, times seconds. Nothing here opens a file or imports a
framework.
"""

from .attacks import (
    MOST_ATTEMPTS,
    OWN_IMAGE,
    PAPERS_EPSILON,
    PAPERS_SOURCE,
    PAPERS_STEP,
    PRINTED_STEP,
    SMALLEST_FLOAT32,
    SUCCESS_STEP,
    AttackKind,
    AttackLoss,
    AttackProtocol,
    AttackSettings,
    ProtocolName,
    Stop,
    epsilon_text,
    parse_protocol,
    protocol_name,
)
from .benchmark_info import (
    ALEXNET_ERROR,
    ALEXNET_FLIP_PROBABILITY,
    BENCHMARK_INFO,
    BenchmarkInfo,
)
from .benchmarks import Attack, AuxiliaryRecords, Benchmark, DatasetLayout, Evaluation
from .engines import Backend, Device, Engine, EngineSpec, ImageBatch
from .images import images_from_pixels
from .intervals import Z_95, wilson_interval
from .items import CONDITION_OPTIONS, Condition, Extent, Item, Source
from .models import (
    FLOAT32_PIXELS,
    Bundle,
    ClassOrder,
    FactoryCode,
    GraphKind,
    InputKind,
    Interpolation,
    Layout,
    LoadedNetwork,
    ModelSpec,
    OnnxInput,
    OnnxModel,
    Precision,
    Preprocessing,
    ReadyOnnx,
    WeightsKind,
    WeightsOrigin,
)
from .parity import PASSED_AGAINST_ONNX, Flip, Gate, ParityResult, reference_name
from .probes import ProbeName, ProbeSettings
from .progress import NullProgress, Progress, ThreadSafeProgress
from .runs import RUN_FORMAT, DataFingerprint, Provenance, Run, RunKey, RunManifest, Shard
from .scores import SCORE_KEYS, Difference, Score
from .transfer import TransferredImage, TransferSource

__all__ = [
    "ALEXNET_ERROR",
    "ALEXNET_FLIP_PROBABILITY",
    "BENCHMARK_INFO",
    "CONDITION_OPTIONS",
    "FLOAT32_PIXELS",
    "MOST_ATTEMPTS",
    "OWN_IMAGE",
    "PAPERS_EPSILON",
    "PAPERS_SOURCE",
    "PAPERS_STEP",
    "PASSED_AGAINST_ONNX",
    "PRINTED_STEP",
    "RUN_FORMAT",
    "SCORE_KEYS",
    "SMALLEST_FLOAT32",
    "SUCCESS_STEP",
    "Z_95",
    "Attack",
    "AttackKind",
    "AttackLoss",
    "AttackProtocol",
    "AttackSettings",
    "AuxiliaryRecords",
    "Backend",
    "Benchmark",
    "BenchmarkInfo",
    "Bundle",
    "ClassOrder",
    "Condition",
    "DataFingerprint",
    "DatasetLayout",
    "Device",
    "Difference",
    "Engine",
    "EngineSpec",
    "Evaluation",
    "Extent",
    "FactoryCode",
    "Flip",
    "Gate",
    "GraphKind",
    "ImageBatch",
    "InputKind",
    "Interpolation",
    "Item",
    "Layout",
    "LoadedNetwork",
    "ModelSpec",
    "NullProgress",
    "OnnxInput",
    "OnnxModel",
    "ParityResult",
    "Precision",
    "Preprocessing",
    "ProbeName",
    "ProbeSettings",
    "Progress",
    "ProtocolName",
    "Provenance",
    "ReadyOnnx",
    "Run",
    "RunKey",
    "RunManifest",
    "Score",
    "Shard",
    "Source",
    "Stop",
    "ThreadSafeProgress",
    "TransferSource",
    "TransferredImage",
    "WeightsKind",
    "WeightsOrigin",
    "epsilon_text",
    "images_from_pixels",
    "parse_protocol",
    "protocol_name",
    "reference_name",
    "wilson_interval",
]
