"""``evaluator attack whitebox`` and ``evaluator attack transfer``."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Unpack

import typer

from ..workflow.models.options import WeightsOptions
from .command_help import ATTACK, DATA, ENGINE, OUTPUT, Command, Group
from .options import (
    BatchSize,
    Device,
    Engine,
    Json,
    Labels,
    Model,
    OnError,
    Precision,
    VerifyData,
    Words,
    importable,
    numbers_of,
    pixel_units,
    pixel_units_of,
    takes_model_options,
)

if TYPE_CHECKING:
    from ..contracts import Progress, Run

Photos = Annotated[
    list[Path],
    typer.Option(
        metavar="PATH",
        help="Validation images of ImageNet: a folder, or a tar file, which is read without "
        "unpacking. Repeat the option for several.",
        rich_help_panel=DATA,
    ),
]
Protocol = Annotated[
    str,
    typer.Option(
        metavar="paper|standard",
        help="Preset of the attack's settings. paper: targeted at a random class, step 2/255. "
        "standard: untargeted, several restarts and losses, worst case of each image.",
        rich_help_panel=ATTACK,
    ),
]
Epsilons = Annotated[
    Words | None,
    typer.Option(
        metavar="A,B,...",
        help="Epsilons to attack in this call, in [0, 1], e.g. 0.01 or 8/255. Default: those of "
        "the protocol.",
        rich_help_panel=ATTACK,
    ),
]
RelativeEpsilon = Annotated[
    bool,
    typer.Option(
        "--relative-epsilon",
        help="Take epsilon as a fraction of the largest pixel value of each image.",
        rich_help_panel=ATTACK,
    ),
]
Steps = Annotated[
    Words | None,
    typer.Option(
        metavar="10,20,...",
        help="Step counts to report. Default: those of the protocol.",
        rich_help_panel=ATTACK,
    ),
]
StepSize = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE",
        help="Step size in [0, 1], e.g. 2/225, which the paper's text has. Default: that of the "
        "protocol.",
        rich_help_panel=ATTACK,
    ),
]
Restarts = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Random restarts with each loss, the first start included. Default: those of the "
        "protocol.",
        rich_help_panel=ATTACK,
    ),
]
Subset = Annotated[
    str | None,
    typer.Option(
        metavar="every-second",
        help="Attack every second one of the sorted images, as the paper does.",
        rich_help_panel=DATA,
    ),
]
Limit = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        help="Number of images to attack, evenly spaced over all of them.",
        rich_help_panel=DATA,
    ),
]
Traced = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=0,
        help="Number of images that do all steps even after a success, for the reliability "
        "diagnostics. Default: 300.",
        rich_help_panel=ATTACK,
    ),
]
AttackSeed = Annotated[
    int,
    typer.Option(
        metavar="N",
        min=0,
        help="Seed of random starts and targets, and of random weights.",
        rich_help_panel=ATTACK,
    ),
]
CheckAgainst = Annotated[
    Path | None,
    typer.Option(
        metavar="RUN",
        help="Run of imagenet, of the attacked model on an engine. PyTorch's predictions are "
        "compared with its predictions, and the attack stops if parity's bounds cannot explain "
        "a difference.",
        rich_help_panel=ENGINE,
    ),
]

app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Attack a model and assess whether the attack is reliable.",
    epilog="evaluator attack whitebox resnet50 --data /data/imagenet/val --limit 1000",
)


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
        print_tables(result.tables())
    if json is not None:
        write_json(json, result.document())


@app.command(
    cls=Command,
    epilog="evaluator attack whitebox resnet50 --protocol standard --data /data/imagenet/val "
    "--limit 1000 --probe",
)
@takes_model_options(WeightsOptions)
def whitebox(
    model: Model,
    data: Photos,
    protocol: Protocol = "paper",
    epsilon: Epsilons = None,
    relative_epsilon: RelativeEpsilon = False,
    steps: Steps = None,
    step_size: StepSize = None,
    restarts: Restarts = None,
    subset: Subset = None,
    limit: Limit = None,
    traced: Traced = None,
    seed: AttackSeed = 0,
    labels: Labels = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder of the run. Default: runs/<model>/whitebox-<hash>.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    device: Device = None,
    batch_size: BatchSize = None,
    parity: Annotated[
        bool,
        typer.Option(
            help="On a GPU, attack only if its logits agree with those of the CPU.",
            rich_help_panel=ENGINE,
        ),
    ] = True,
    on_error: OnError = "fail",
    check_against: CheckAgainst = None,
    verify_data: VerifyData = False,
    probe: Annotated[
        bool,
        typer.Option(
            "--probe",
            help="Also run probes that test whether the attack is reliable: noise, Square, twice "
            "the steps, and no bound. On a finished run, only the probes are run.",
            rich_help_panel=ATTACK,
        ),
    ] = False,
    probe_images: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Number of images in each probe. Default: 200.",
            rich_help_panel=ATTACK,
        ),
    ] = None,
    probe_queries: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Queries of Square per image. Default: 1000.",
            rich_help_panel=ATTACK,
        ),
    ] = None,
    json: Json = None,
    **options: Unpack[WeightsOptions],
) -> None:
    """Attack a model with its own gradients. Run the same command again to resume."""
    from ..workflow.attack.whitebox import attack_whitebox

    def attack(display: "Progress") -> "tuple[Run, ...]":
        run = attack_whitebox(
            model,
            data,
            protocol=protocol,
            epsilons=pixel_units_of(epsilon, "--epsilon"),
            steps=numbers_of(steps, "--steps"),
            restarts=restarts,
            step_size=None if step_size is None else pixel_units(step_size, "--step-size"),
            relative_epsilon=relative_epsilon,
            subset=subset,
            limit=limit,
            traced=traced,
            seed=seed,
            labels=labels,
            out=out,
            device=device,
            batch_size=batch_size,
            parity=parity,
            on_error=on_error,
            check_against=check_against,
            verify_data=verify_data,
            probe=probe,
            probe_images=probe_images,
            probe_queries=probe_queries,
            progress=display,
            **options,
        )
        return (run,)

    _attack_and_report(attack, json)


@app.command(
    cls=Command,
    epilog="evaluator attack transfer resnet50 alexnet --source resnext50_32x4d "
    "--data /data/imagenet/val",
)
@takes_model_options(WeightsOptions)
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
        typer.Option(
            metavar="MODEL",
            help="Surrogate: the model that is attacked.",
            rich_help_panel=ATTACK,
        ),
    ] = "resnext50_32x4d",
    protocol: Protocol = "paper",
    image: Annotated[
        str | None,
        typer.Option(
            metavar="first-hit|last",
            help="Image that the other models classify: the first iterate that succeeds, or the "
            "last one. Default: first-hit with the protocol paper, else last.",
            rich_help_panel=ATTACK,
        ),
    ] = None,
    epsilon: Epsilons = None,
    relative_epsilon: RelativeEpsilon = False,
    steps: Steps = None,
    step_size: StepSize = None,
    restarts: Restarts = None,
    subset: Subset = None,
    limit: Limit = None,
    traced: Traced = None,
    seed: AttackSeed = 0,
    labels: Labels = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder in which each model gets a run under its name. Default: "
            "runs/<model>/transfer-<hash>.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    engine: Engine = None,
    device: Device = None,
    batch_size: BatchSize = None,
    source_weights: Annotated[
        str,
        typer.Option(
            metavar="default|random|FILE",
            help="Where the weights of the source come from.",
            rich_help_panel=ATTACK,
        ),
    ] = "default",
    source_crop_px: Annotated[
        int | None,
        typer.Option(
            metavar="PX",
            help="Side of the centre crop of the source. Default: that of its training.",
            rich_help_panel=ATTACK,
        ),
    ] = None,
    precision: Precision = None,
    parity: Annotated[
        bool,
        typer.Option(
            help="Use only engines that agree with PyTorch, also on adversarial images.",
            rich_help_panel=ENGINE,
        ),
    ] = True,
    on_error: OnError = "fail",
    keep: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder to save the adversarial images in, without loss. Images that are already "
            "in it are used again.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    check_against: CheckAgainst = None,
    verify_data: VerifyData = False,
    json: Json = None,
    **options: Unpack[WeightsOptions],
) -> None:
    """Attack one model and let others classify the images. Run the same command again to resume."""
    from ..workflow.attack.transfer.attack import attack_transfer

    def attack(display: "Progress") -> "tuple[Run, ...]":
        return attack_transfer(
            models,
            data,
            source=importable(source),
            protocol=protocol,
            image=image,
            epsilons=pixel_units_of(epsilon, "--epsilon"),
            steps=numbers_of(steps, "--steps"),
            restarts=restarts,
            step_size=None if step_size is None else pixel_units(step_size, "--step-size"),
            relative_epsilon=relative_epsilon,
            subset=subset,
            limit=limit,
            traced=traced,
            seed=seed,
            labels=labels,
            out=out,
            engine=engine,
            device=device,
            batch_size=batch_size,
            source_weights=source_weights,
            source_crop_px=source_crop_px,
            precision=precision,
            parity=parity,
            on_error=on_error,
            keep=keep,
            check_against=check_against,
            verify_data=verify_data,
            progress=display,
            **options,
        )

    _attack_and_report(attack, json)
