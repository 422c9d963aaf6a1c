"""The public data sets: where they are, under which licence, how large, and their checksums.

A checksum or a size stands here only if somebody published it; ``None`` says that nobody did. Then
the size comes from the server, and the SHA-256 of the first download is pinned (``hash_pins``).

Sources: the Zenodo records 2235448 (ImageNet-C: sizes, MD5, licence) and 3565846 (ImageNet-P: MD5);
the lists ``checksums.tsv`` of TensorFlow Datasets (ImageNet-A, -R and -V2: sizes, SHA-256);
``torchvision/datasets/imagenet.py`` (ImageNet: MD5); the READMEs and licences of hendrycks/
robustness, hendrycks/natural-adv-examples, modestyachts/ImageNetV2, HaohanWang/ImageNet-Sketch,
facebookresearch/augmentation-corruption, rgeirhos/texture-vs-shape and bethgelab/model-vs-human.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from ...errors import InputError, did_you_mean
from ...storage.digest import Checksum


@dataclass(frozen=True)
class Archive:
    """One file of a data set.

    Attributes:
        url: Address of the file; empty if it cannot be fetched.
        name: Name of the file on disk.
        size_bytes: Published size in bytes; `None` if none is published.
        checksum: Published checksum; `None` if none is published.
    """

    url: str
    name: str
    size_bytes: int | None = None
    checksum: Checksum | None = None

    @property
    def final_name(self) -> str:
        """Name under which the file is read: tar files are unpacked from gzip once."""
        return f"{self.name.removesuffix('.tar.gz')}.tar" if self.is_gzip else self.name

    @property
    def is_gzip(self) -> bool:
        """Whether the file is, by its name, a tar compressed with gzip."""
        return self.name.endswith(".tar.gz")


@dataclass(frozen=True)
class DataSet:
    """A data set whose files are public.

    Attributes:
        name: Name on the command line.
        title: Name that its authors use.
        purpose: What it is for.
        licence: Licence, and who states it.
        page: Page that describes it.
        archives: Its files.
        benchmark: Benchmark that it is scored on; empty if there is none in this version.
        usage: What to do with the files where they are not scored as they are.
    """

    name: str
    title: str
    purpose: str
    licence: str
    page: str
    archives: tuple[Archive, ...]
    benchmark: str = ""
    usage: str = ""


def _zenodo(record: int, name: str, md5: str, size: int | None = None) -> Archive:
    url = f"https://zenodo.org/records/{record}/files/{name}?download=1"
    return Archive(url, name, size, Checksum("md5", md5))


IMAGENET = DataSet(
    name="imagenet",
    title="ImageNet validation",
    purpose="clean images, which relative mCE and all attacks need",
    licence="ImageNet's terms of access, which each person accepts",
    page="https://image-net.org/download-images",
    archives=(
        Archive(
            "", "ILSVRC2012_img_val.tar", None, Checksum("md5", "29b22e2961454d5413ddabcf34fc5622")
        ),
        Archive(
            "",
            "ILSVRC2012_devkit_t12.tar.gz",
            None,
            Checksum("md5", "fa75699e90414af021442c21a62c3abf"),
        ),
    ),
    benchmark="imagenet",
)
"""It may not be passed on, so it is explained and not fetched."""

_NOT_SCORED = "No benchmark of this version reads it as published."

_ALL = (
    IMAGENET,
    DataSet(
        name="imagenet-c",
        title="ImageNet-C",
        purpose="corruption error: 15 corruptions at 5 severities",
        licence="CC BY 4.0 (Zenodo record); the photos are ImageNet's",
        page="https://zenodo.org/records/2235448",
        archives=(
            _zenodo(2235448, "noise.tar", "e80562d7f6c3f8834afb1ecf27252745", 22_565_673_785),
            _zenodo(2235448, "blur.tar", "2d8e81fdd8e07fef67b9334fa635e45c", 7_112_704_951),
            _zenodo(2235448, "weather.tar", "33ffea4db4d93fe4a428c40a6ce0c25d", 12_797_438_995),
            _zenodo(2235448, "digital.tar", "89157860d7b10d5797849337ca2e5c03", 7_757_510_705),
        ),
        benchmark="imagenet-c",
    ),
    DataSet(
        name="imagenet-c-extra",
        title="ImageNet-C, extra corruptions",
        purpose="four corruptions for validation, which are not part of mCE",
        licence="CC BY 4.0 (Zenodo record); the photos are ImageNet's",
        page="https://zenodo.org/records/2235448",
        archives=(
            _zenodo(2235448, "extra.tar", "d492dfba5fc162d8ec2c3cd8ee672984", 15_789_490_144),
        ),
        usage=_NOT_SCORED,
    ),
    DataSet(
        name="imagenet-p",
        title="ImageNet-P",
        purpose="flip rates: ten perturbations as videos",
        licence="see the Zenodo record; the photos are ImageNet's",
        page="https://zenodo.org/records/3565846",
        archives=(
            _zenodo(3565846, "blur.tar", "869b2d2fb1604d1baa4316b5ecc9fdea"),
            _zenodo(3565846, "digital.tar", "8c1f73e4912812788e2fdb637cd55372"),
            _zenodo(3565846, "noise.tar", "619b37b5139ce764f77ce3bed3aee837"),
            _zenodo(3565846, "weather.tar", "a597ff6db8c6fb0dbcd6eb12ed620002"),
        ),
        benchmark="imagenet-p",
    ),
    DataSet(
        name="imagenet-a",
        title="ImageNet-A",
        purpose="natural adversarial examples: accuracy, calibration, AURRA",
        licence="MIT (repository); the photos belong to their authors",
        page="https://github.com/hendrycks/natural-adv-examples",
        archives=(
            Archive(
                "https://people.eecs.berkeley.edu/~hendrycks/imagenet-a.tar",
                "imagenet-a.tar",
                687_552_512,
                Checksum(
                    "sha256", "3bb3632277e6ba6392ea64c02ddbf4dd2266c9caffd6bc09c9656d28f012589e"
                ),
            ),
        ),
        benchmark="imagenet-a",
    ),
    DataSet(
        name="cue-conflict",
        title="Cue conflict",
        purpose="shape bias: 1,280 stimuli, of which 1,200 conflict",
        licence="CC BY 4.0 (rgeirhos/texture-vs-shape)",
        page="https://github.com/rgeirhos/texture-vs-shape",
        archives=(
            Archive(
                "https://github.com/bethgelab/model-vs-human/releases/download/v0.1/"
                "cue-conflict.tar.gz",
                "cue-conflict.tar.gz",
            ),
        ),
        benchmark="cue-conflict",
    ),
    DataSet(
        name="imagenet-r",
        title="ImageNet-R",
        purpose="renditions: 30,000 drawings, paintings and others of 200 classes",
        licence="see the repository; the images belong to their authors",
        page="https://github.com/hendrycks/imagenet-r",
        archives=(
            Archive(
                "https://people.eecs.berkeley.edu/~hendrycks/imagenet-r.tar",
                "imagenet-r.tar",
                2_191_079_936,
                Checksum(
                    "sha256", "18c6bf493b39a0d975d48e587437f562caab9c52ae6327dcfa9dd8eb54aa1b52"
                ),
            ),
        ),
        usage=_NOT_SCORED,
    ),
    DataSet(
        name="imagenet-v2",
        title="ImageNet-V2, matched frequency",
        purpose="a second validation set: 10,000 photos",
        licence="MIT (repository); the photos belong to their authors",
        page="https://github.com/modestyachts/ImageNetV2",
        archives=(
            Archive(
                "https://huggingface.co/datasets/vaishaal/ImageNetV2/resolve/main/"
                "imagenetv2-matched-frequency.tar.gz",
                "imagenetv2-matched-frequency.tar.gz",
                1_264_079_360,
                Checksum(
                    "sha256", "f0c37fdf925916b19ea1323cd9a2208cdb6959ba2c32eef2a7fc393835c9ca7c"
                ),
            ),
        ),
        usage="Its class folders are numbers: `evaluator score MODEL imagenet` reads it with "
        "--labels, as docs/data.md says.",
    ),
    DataSet(
        name="imagenet-sketch",
        title="ImageNet-Sketch",
        purpose="drawings of all 1,000 classes",
        licence="MIT (repository); the images belong to their authors",
        page="https://github.com/HaohanWang/ImageNet-Sketch",
        archives=(
            Archive(
                "https://huggingface.co/datasets/songweig/imagenet_sketch/resolve/main/data/"
                "ImageNet-Sketch.zip",
                "ImageNet-Sketch.zip",
            ),
        ),
        usage=f"Unpack it with `unzip`. {_NOT_SCORED}",
    ),
    DataSet(
        name="imagenet-c-bar",
        title="ImageNet-C-bar",
        purpose="ten corruptions chosen to be unlike those of ImageNet-C",
        licence="MIT (repository); the photos are ImageNet's",
        page="https://github.com/facebookresearch/augmentation-corruption",
        archives=(
            Archive(
                "https://dl.fbaipublicfiles.com/inc_bar/imagenet_c_bar.tar.gz",
                "imagenet_c_bar.tar.gz",
            ),
        ),
        usage=_NOT_SCORED,
    ),
)

DATA_SETS: Mapping[str, DataSet] = {data_set.name: data_set for data_set in _ALL}
"""The data sets by name, in the order in which they are listed."""


def find_data_set(name: str) -> DataSet:
    """The data set of that name.

    Raises:
        InputError: If there is none; similar names are given, else all of them.
    """
    if name not in DATA_SETS:
        hint = did_you_mean(name, DATA_SETS, f"Expected {', '.join(DATA_SETS)}.")
        raise InputError(f"Unknown data set {name!r}. {hint}")
    return DATA_SETS[name]
