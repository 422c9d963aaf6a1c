"""Help of commands: options in groups, and an example at the end."""

from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from .options import GROUPS


class _ExampleAtEnd:
    """Help that ends with the ``epilog``, an example."""

    epilog: str | None

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the example."""
        if self.epilog:
            with formatter.section("Example"):
                formatter.write(f"  {self.epilog}\n")  # on one line, so that it can be copied


class Command(_ExampleAtEnd, TyperCommand):
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
                sections[getattr(parameter, "rich_help_panel", None) or "Options"].append(record)
        for title, records in sections.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)


class Group(_ExampleAtEnd, TyperGroup):
    """A group of commands whose help ends with its ``epilog``, an example."""


def command_group(text: str, example: str) -> typer.Typer:
    """A group of commands.

    Args:
        text: Help of the group.
        example: Example at the end of its help.
    """
    return typer.Typer(
        cls=Group, no_args_is_help=True, rich_markup_mode=None, help=text, epilog=example
    )
