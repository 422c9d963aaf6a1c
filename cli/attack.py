"""``evaluator attack whitebox`` and ``evaluator attack transfer``."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..contracts import PAPERS_SOURCE
from .command_help import ATTACK, DATA, ENGINE, OUTPUT, Command, Group, option
from .options import (
    WEIGHTS_OPTIONS,
    BatchSize,
    Device,
    Engine,
    Json,
    Labels,
    Model,
    OnError,
    OptionTable,
    Precision,
    VerifyData,
    Words,
    importable,
    parse_fraction,
    parse_fractions,
    parse_numbers,
    takes_options,
)

if TYPE_CHECKING:
    from ..contracts import Progress, Run

Photos = Annotated[
    list[Path],
    option(
        DATA,
        "Validation images of ImageNet: a folder, or a tar file, which is read without "
        "unpacking. Repeat the option for several.",
        metavar="PATH",
    ),
]
Protocol = Annotated[
    str,
    option(
        ATTACK,
        "Preset of the attack's settings. paper: targeted at a random class, step 2/255. "
        "standard: untargeted, several restarts and losses, worst case of each image.",
        metavar="paper|standard",
    ),
]
Epsilons = Annotated[
    Words | None,
    option(
        ATTACK,
        "Epsilons to attack in this call, in [0, 1], e.g. 0.01 or 8/255. Default: those of "
        "the protocol.",
        metavar="A,B,...",
    ),
]
RelativeEpsilon = Annotated[
    bool,
    option(
        ATTACK,
        "Take epsilon as a fraction of the largest pixel value of each image.",
        "--relative-epsilon",
    ),
]
Steps = Annotated[
    Words | None,
    option(
        ATTACK,
        "Step counts to report. Default: those of the protocol; for a transferred attack with "
        "--protocol paper, 10.",
        metavar="10,20,...",
    ),
]
StepSize = Annotated[
    str | None,
    option(
        ATTACK,
        "Step size in [0, 1], e.g. 2/225, which the paper's text has. Default: that of the "
        "protocol.",
        metavar="SIZE",
    ),
]
Restarts = Annotated[
    int | None,
    option(
        ATTACK,
        "Random restarts with each loss, the first one included. Default: those of the protocol.",
        metavar="N",
    ),
]
Subset = Annotated[
    str | None,
    option(
        DATA,
        "Attack every second one of the sorted images, as the paper does.",
        metavar="every-second",
    ),
]
Limit = Annotated[
    int | None,
    option(DATA, "Number of images to attack, evenly spaced over all of them.", metavar="N", min=1),
]
Traced = Annotated[
    int | None,
    option(
        ATTACK,
        "Number of images that do all steps even after a success, for the reliability "
        "diagnostics. Default: 300.",
        metavar="N",
        min=0,
    ),
]
AttackSeed = Annotated[
    int,
    option(ATTACK, "Seed of random starts and targets, and of random weights.", metavar="N", min=0),
]
CheckAgainst = Annotated[
    Path | None,
    option(
        ENGINE,
        "Run of imagenet, of the attacked model on an engine. PyTorch's predictions are "
        "compared with its predictions, and the attack stops if parity's bounds cannot explain "
        "a difference.",
        metavar="RUN",
    ),
]

_OPTIONS: OptionTable = {
    "protocol": (Protocol, "paper"),
    "epsilon": (Epsilons, None),
    "relative_epsilon": (RelativeEpsilon, False),
    "steps": (Steps, None),
    "step_size": (StepSize, None),
    "restarts": (Restarts, None),
    "traced": (Traced, None),
    "seed": (AttackSeed, 0),
    "subset": (Subset, None),
    "limit": (Limit, None),
    "labels": (Labels, None),
    "on_error": (OnError, "fail"),
    "verify_data": (VerifyData, False),
    "device": (Device, None),
    "batch_size": (BatchSize, None),
    "check_against": (CheckAgainst, None),
    **WEIGHTS_OPTIONS,
}
"""Options of both attacks."""

app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Attack a model and assess whether the attack is reliable.",
    epilog="evaluator attack whitebox resnet50 --data /data/imagenet/val --limit 1000",
)


def _keywords(options: dict[str, Any]) -> dict[str, Any]:
    """Keywords of the Python API for the options of both attacks."""
    keywords = dict(options)
    epsilon, steps, step_size = (keywords.pop(name) for name in ("epsilon", "steps", "step_size"))
    return {
        **keywords,
        "epsilons": parse_fractions(epsilon, "--epsilon"),
        "steps": parse_numbers(steps, "--steps"),
        "step_size": None if step_size is None else parse_fraction(step_size, "--step-size"),
    }


def _attack_and_report(attack: "Callable[[Progress], tuple[Run, ...]]", json: Path | None) -> None:
    """Attack, then report on the runs of the attack."""
    from .console import check_outputs, is_stdout, print_tables, progress, write_json

    check_outputs(json)
    with progress() as display:
        runs = attack(display)
        from ..workflow.report.report import report

        result = report([run.folder for run in runs])
        for run in runs:
            display.note(f"Run: {run.folder}")
    if not is_stdout(json):
        print_tables(result.terminal_tables())
    if json is not None:
        write_json(json, result.document())


@app.command(
    cls=Command,
    epilog="evaluator attack whitebox resnet50 --protocol standard --data /data/imagenet/val "
    "--limit 1000 --probe",
)
@takes_options(_OPTIONS)
def whitebox(
    model: Model,
    data: Photos,
    out: Annotated[
        Path | None,
        option(OUTPUT, "Folder of the run. Default: runs/<model>/whitebox-<hash>.", metavar="DIR"),
    ] = None,
    parity: Annotated[
        bool,
        option(ENGINE, "On a GPU, attack only if its logits agree with those of the CPU."),
    ] = True,
    probe: Annotated[
        bool,
        option(
            ATTACK,
            "Also run probes that test whether the attack is reliable: noise, Square, twice "
            "the steps, and no bound. On a finished run, only the probes are run.",
            "--probe",
        ),
    ] = False,
    probe_images: Annotated[
        int | None,
        option(ATTACK, "Number of images in each probe. Default: 200.", metavar="N"),
    ] = None,
    probe_queries: Annotated[
        int | None,
        option(ATTACK, "Queries of Square per image. Default: 1000.", metavar="N"),
    ] = None,
    json: Json = None,
    **options: Any,
) -> None:
    """Attack a model with its own gradients. Run the same command again to resume."""
    from ..workflow.attack.whitebox import attack_whitebox

    def attack(display: "Progress") -> "tuple[Run, ...]":
        run = attack_whitebox(
            model,
            data,
            out=out,
            parity=parity,
            probe=probe,
            probe_images=probe_images,
            probe_queries=probe_queries,
            progress=display,
            **_keywords(options),
        )
        return (run,)

    _attack_and_report(attack, json)


@app.command(
    cls=Command,
    epilog="evaluator attack transfer resnet50 alexnet --source resnext50_32x4d "
    "--data /data/imagenet/val",
)
@takes_options(_OPTIONS)
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
    data: Photos,
    source: Annotated[
        str,
        option(ATTACK, "Source (surrogate): the model that is attacked.", metavar="MODEL"),
    ] = PAPERS_SOURCE,
    image: Annotated[
        str | None,
        option(
            ATTACK,
            "Image that the other models classify: the first iterate that succeeds, or the "
            "last one. Default: first-hit with --protocol paper, else last.",
            metavar="first-hit|last",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        option(
            OUTPUT,
            "Folder in which each model gets a run under its name. Default: "
            "runs/<model>/transfer-<hash>.",
            metavar="DIR",
        ),
    ] = None,
    engine: Engine = None,
    source_weights: Annotated[
        str,
        option(ATTACK, "Where the weights of the source come from.", metavar="default|random|FILE"),
    ] = "default",
    source_crop_px: Annotated[
        int | None,
        option(
            ATTACK,
            "Side of the centre crop of the source. Default: that of its training.",
            metavar="PX",
        ),
    ] = None,
    precision: Precision = None,
    parity: Annotated[
        bool,
        option(ENGINE, "Use only engines that agree with PyTorch, also on adversarial images."),
    ] = True,
    keep: Annotated[
        Path | None,
        option(
            OUTPUT,
            "Folder to save the adversarial images in, without loss. Images that are already "
            "in it are used again.",
            metavar="DIR",
        ),
    ] = None,
    json: Json = None,
    **options: Any,
) -> None:
    """Attack one model and let others classify the images. Run the same command again to resume."""
    from ..workflow.attack.transfer.attack import attack_transfer

    def attack(display: "Progress") -> "tuple[Run, ...]":
        return attack_transfer(
            models,
            data,
            source=importable(source),
            image=image,
            out=out,
            engine=engine,
            source_weights=source_weights,
            source_crop_px=source_crop_px,
            precision=precision,
            parity=parity,
            keep=keep,
            progress=display,
            **_keywords(options),
        )

    _attack_and_report(attack, json)
