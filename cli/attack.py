"""``evaluator attack whitebox`` and ``evaluator attack transfer``."""

from pathlib import Path
from typing import Annotated, Any

import typer

from ..contracts import PAPERS_SOURCE
from .command_help import Command, command_group
from .config import ConfigOption, configured
from .options import (
    BATCH_SIZE,
    DEVICES,
    ENGINE,
    LABELS,
    ON_ERROR,
    VERIFY_DATA,
    GraphOptions,
    JsonOption,
    Model,
    PlanOptions,
    WeightsOptions,
    importable,
    option,
    parse_fraction,
    parse_fractions,
    parse_numbers,
    takes_options,
)
from .report import run_and_report

app = command_group(
    "Attack a model and assess whether the attack is reliable.",
    "evaluator attack whitebox resnet50 --data /data/imagenet/val --limit 1000",
)


PHOTOS = option(
    "Data",
    "Validation images of ImageNet: a folder, or a tar file, which is read without "
    "unpacking. Repeat the option for several. Default: the place in evaluator.toml.",
    metavar="PATH",
)


class AttackOptions:
    """Options of both attacks."""

    protocol: str = option(
        "Attack",
        "Preset of the attack's settings. paper: targeted at a random class, step 2/255. "
        "standard: untargeted, several restarts and losses, worst case of each image.",
        default="paper",
        metavar="paper|standard",
    )
    epsilons: list[str] | None = option(
        "Attack",
        "Epsilons to attack in this call, in [0, 1], e.g. 0.01 or 8/255. Default: those of "
        "the protocol.",
        "--epsilon",
        metavar="A,B,...",
        parse=parse_fractions,
    )
    relative_epsilon: bool = option(
        "Attack",
        "Take epsilon as a fraction of the largest pixel value of each image.",
        "--relative-epsilon",
        default=False,
    )
    steps: list[str] | None = option(
        "Attack",
        "Step counts to report. Default: those of the protocol; for a transferred attack with "
        "--protocol paper, 10.",
        metavar="10,20,...",
        parse=parse_numbers,
    )
    step_size: str | None = option(
        "Attack",
        "Step size in [0, 1], e.g. 2/225, which the paper's text has. Default: that of the "
        "protocol.",
        metavar="SIZE",
        parse=parse_fraction,
    )
    restarts: int | None = option(
        "Attack",
        "Random restarts with each loss, the first one included. Default: those of the protocol.",
        metavar="N",
    )
    traced: int | None = option(
        "Attack",
        "Number of images that do all steps even after a success, for the reliability "
        "diagnostics. Default: 300.",
        metavar="N",
        min=0,
    )
    seed: int = option(
        "Attack",
        "Seed of random starts and targets, and of random weights.",
        default=0,
        metavar="N",
        min=0,
    )
    subset: str | None = option(
        "Data",
        "Attack every second one of the sorted images, as the paper does.",
        metavar="every-second",
    )
    limit: int | None = option(
        "Data", "Number of images to attack, evenly spaced over all of them.", metavar="N", min=1
    )
    labels: Path | None = LABELS
    on_error: str = ON_ERROR
    verify_data: bool = VERIFY_DATA
    device: str | None = DEVICES
    batch_size: int | None = BATCH_SIZE
    check_against: Path | None = option(
        "Engine",
        "Run of imagenet, of the attacked model on an engine. PyTorch's predictions are "
        "compared with its predictions, and the attack stops if parity's bounds cannot explain "
        "a difference.",
        metavar="RUN",
    )


class WhiteboxOptions:
    """Options of ``attack whitebox`` only."""

    data: list[Path] | None = PHOTOS
    out: Path | None = option(
        "Output", "Folder of the run. Default: runs/<model>/whitebox-<hash>.", metavar="DIR"
    )
    parity: bool = option(
        "Engine", "On a GPU, attack only if its logits agree with those of the CPU.", default=True
    )
    probe: bool = option(
        "Attack",
        "Also run probes that test whether the attack is reliable: noise, Square, twice "
        "the steps, and no bound. On a finished run, only the probes are run.",
        "--probe",
        default=False,
    )
    probe_images: int | None = option(
        "Attack", "Number of images in each probe. Default: 200.", metavar="N"
    )
    probe_queries: int | None = option(
        "Attack", "Queries of Square per image. Default: 1000.", metavar="N"
    )


class TransferOptions:
    """Options of ``attack transfer`` only."""

    data: list[Path] | None = PHOTOS
    source: str = option(
        "Attack",
        "Source (surrogate): the model that is attacked.",
        default=PAPERS_SOURCE,
        metavar="MODEL",
    )
    image: str | None = option(
        "Attack",
        "Image that the other models classify: the first iterate that succeeds, or the "
        "last one. Default: first-hit with --protocol paper, else last.",
        metavar="first-hit|last",
    )
    out: Path | None = option(
        "Output",
        "Folder in which each model gets a run under its name. Default: "
        "runs/<model>/transfer-<hash>.",
        metavar="DIR",
    )
    engine: str | None = ENGINE
    source_weights: str = option(
        "Attack",
        "Where the weights of the source come from.",
        default="default",
        metavar="default|random|FILE",
    )
    source_crop_px: int | None = option(
        "Attack",
        "Side of the centre crop of the source. Default: that of its training.",
        metavar="PX",
    )
    precision: str | None = GraphOptions.precision
    parity: bool = option(
        "Engine",
        "Use only engines that agree with PyTorch, also on adversarial images.",
        default=True,
    )
    keep: Path | None = option(
        "Output",
        "Folder to save the adversarial images in, without loss. Images that are already "
        "in it are used again.",
        metavar="DIR",
    )


@app.command(
    cls=Command,
    epilog="evaluator attack whitebox resnet50 --protocol standard --data /data/imagenet/val "
    "--limit 1000 --probe",
)
@takes_options(WhiteboxOptions, JsonOption, AttackOptions, WeightsOptions, ConfigOption)
@configured(benchmark="imagenet")
def whitebox(model: Model, **options: Any) -> None:
    """Attack a model with its own gradients. Run the same command again to resume."""
    from ..workflow.attack.whitebox import attack_whitebox

    run_and_report(attack_whitebox, model, **options)


@app.command(
    cls=Command,
    epilog="evaluator attack transfer resnet50 alexnet --source resnext50_32x4d "
    "--data /data/imagenet/val",
)
@takes_options(
    TransferOptions, JsonOption, AttackOptions, WeightsOptions, PlanOptions, ConfigOption
)
@configured(benchmark="imagenet")
def transfer(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL",
            help="The models that classify the adversarial images; each is named like MODEL in the "
            "other commands.",
            callback=lambda names: [importable(name) for name in names],
        ),
    ],
    source: str,
    **options: Any,
) -> None:
    """Attack one model and let others classify the images. Run the same command again to resume."""
    from ..workflow.attack.transfer.attack import attack_transfer

    run_and_report(attack_transfer, models, source=importable(source), **options)
