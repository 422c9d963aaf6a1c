"""Help of commands: options in groups, and an example at the end.

An option names its group in ``rich_help_panel``. Typer itself reads that only for help that
rich draws, which is off here since rich would be imported for it.
"""

from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

MODEL = "Model"
DATA = "Data"
ATTACK = "Attack"
OPTIMISATION = "Optimisation"
ENGINE = "Engine"
OUTPUT = "Output"
OTHER = "Options"
GROUPS = (MODEL, DATA, ATTACK, OPTIMISATION, ENGINE, OUTPUT, OTHER)
"""Groups of options, in the order in which help shows them."""


def option(
    group: str, text: str, *flags: str, metavar: str | None = None, min: float | None = None
) -> Any:
    """An option of a command.

    Args:
        group: Group that help shows it in.
        text: Help of the option.
        flags: Names of the option. Without any, its name is that of the parameter.
        metavar: Name of its value in help.
        min: Smallest value.
    """
    return typer.Option(*flags, metavar=metavar, min=min, help=text, rich_help_panel=group)


class Command(TyperCommand):
    """A command whose help has its options in groups and ends with its ``epilog``, an example."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments, then each group of options."""
        sections: dict[str, list[tuple[str, str]]] = {title: [] for title in ("Arguments", *GROUPS)}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is None:
                continue
            if parameter.param_type_name == "argument":
                sections["Arguments"].append(record)
            else:
                sections[getattr(parameter, "rich_help_panel", None) or OTHER].append(record)
        for title, records in sections.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the example."""
        _write_example(self.epilog, formatter)


class Group(TyperGroup):
    """A group of commands whose help ends with its ``epilog``, an example."""

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the example."""
        _write_example(self.epilog, formatter)


def _write_example(example: str | None, formatter: Any) -> None:
    if example:
        with formatter.section("Example"):
            formatter.write(f"  {example}\n")  # on one line, so that it can be copied
