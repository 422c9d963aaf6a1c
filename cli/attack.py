"""``evaluator attack whitebox`` and ``evaluator attack transfer``."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Unpack

import typer

from ..workflow.models.options import WeightsOptions
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
        help="ImageNet's validation photos: a folder, or a tar file, which is read in place; "
        "repeat it for several.",
    ),
]
Protocol = Annotated[
    str,
    typer.Option(
        metavar="paper|standard",
        help="paper: targeted at a random class, step 2/255. standard: untargeted, several "
        "starts and losses, the worst case of each image.",
    ),
]
Epsilons = Annotated[
    Words | None,
    typer.Option(metavar="A,B,...", help="Of [0, 1], such as 0.01 or 8/255; only these now."),
]
RelativeEpsilon = Annotated[
    bool, typer.Option("--relative-epsilon", help="Epsilon as a share of the largest pixel.")
]
Steps = Annotated[Words | None, typer.Option(metavar="10,20,...", help="Counts that are answered.")]
StepSize = Annotated[
    str | None, typer.Option(metavar="S", help="Of [0, 1]; 2/225 is what the paper prints.")
]
Restarts = Annotated[int | None, typer.Option(help="Starts that are tried.")]
Subset = Annotated[
    str | None, typer.Option(metavar="every-second", help="Of the sorted images, as the paper.")
]
Limit = Annotated[int | None, typer.Option(min=1, help="Images, evenly spaced.")]
Traced = Annotated[
    int | None,
    typer.Option(min=0, help="Images that do all steps, for the diagnostics. Default: 300."),
]
AttackSeed = Annotated[
    int, typer.Option(min=0, help="Of starts and targets, and of random weights.")
]
CheckAgainst = Annotated[
    Path | None,
    typer.Option(
        metavar="RUN",
        help="A run of imagenet, of the attacked model by an engine: its predictions are compared "
        "with PyTorch's, and the attack stops where parity's bounds cannot explain a difference.",
    ),
]

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Attack a model with gradients, in PyTorch, and say whether the attack can be believed.",
)


def _attack_and_report(attack: "Callable[[Progress], tuple[Run, ...]]", json: Path | None) -> None:
    """Attack, and report on the runs that there are then."""
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


@app.command()
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
        typer.Option(help="The run's folder. Default: runs/<model>/whitebox-<hash>."),
    ] = None,
    device: Device = None,
    batch_size: BatchSize = None,
    parity: Annotated[
        bool, typer.Option(help="On a GPU, attack only where it agrees with the CPU.")
    ] = True,
    on_error: OnError = "fail",
    check_against: CheckAgainst = None,
    verify_data: VerifyData = False,
    probe: Annotated[
        bool,
        typer.Option(
            "--probe",
            help="Make what else judges the attack: noise, Square, twice the steps, no bound. "
            "On a run that is finished, only these.",
        ),
    ] = False,
    probe_images: Annotated[
        int | None, typer.Option(metavar="N", help="Images in a probe. Default: 200.")
    ] = None,
    probe_queries: Annotated[
        int | None, typer.Option(metavar="N", help="Of Square, an image. Default: 1000.")
    ] = None,
    json: Json = None,
    **options: Unpack[WeightsOptions],
) -> None:
    """Attack a model with its own gradients. The same command continues an unfinished run."""
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


@app.command()
@takes_model_options(WeightsOptions)
def transfer(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL...",
            help="The models that classify the images: each as MODEL elsewhere.",
            callback=lambda names: [importable(name) for name in names],
        ),
    ],
    data: Photos,
    source: Annotated[
        str, typer.Option(metavar="MODEL", help="The model that is attacked.")
    ] = "resnext50_32x4d",
    protocol: Protocol = "paper",
    image: Annotated[
        str | None,
        typer.Option(
            metavar="first-hit|last",
            help="What is handed on. Default: the paper's first hit, else the last iterate.",
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
            help="Each model has its run in it, under its name. Default: runs/<model>/"
            "transfer-<hash>."
        ),
    ] = None,
    engine: Engine = None,
    device: Device = None,
    batch_size: BatchSize = None,
    source_weights: Annotated[
        str,
        typer.Option(metavar="default|random|FILE", help="Where the source's weights come from."),
    ] = "default",
    source_crop_px: Annotated[
        int | None, typer.Option(help="Another crop of the source than its training's.")
    ] = None,
    precision: Precision = None,
    parity: Annotated[
        bool,
        typer.Option(help="Believe engines only where they agree, on adversarial images as well."),
    ] = True,
    on_error: OnError = "fail",
    keep: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Keep the images there, losslessly, for further models; what is there is used.",
        ),
    ] = None,
    check_against: CheckAgainst = None,
    verify_data: VerifyData = False,
    json: Json = None,
    **options: Unpack[WeightsOptions],
) -> None:
    """Attack one model, and let others classify the images. The same command continues."""
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
