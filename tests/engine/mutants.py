"""Modules without one of their calls, assignments or slices."""

import ast
import inspect
import sys
from collections.abc import Collection, Iterator
from types import ModuleType
from typing import Any


def parts_of(module: Any, functions: Collection[str]) -> dict[str, int]:
    """Parts of these functions that can be left out: their text, and their number."""
    found: dict[str, int] = {}
    for number, (function, node) in enumerate(_nodes(module, functions)[1]):
        name = f"{function}: {ast.unparse(node)}"
        found[name if name not in found else f"{name} again"] = number
    return found


def mutant(module: Any, functions: Collection[str], number: int) -> ModuleType:
    """The module without one of its parts; a slice becomes that of everything."""
    tree, nodes = _nodes(module, functions)
    left_out = nodes[number][1]

    class Without(ast.NodeTransformer):
        def visit(self, node: ast.AST) -> Any:
            if node is not left_out:
                return self.generic_visit(node)
            if isinstance(node, ast.Subscript):
                node.slice = ast.Slice()
                return node
            return ast.copy_location(ast.Pass(), node)

    changed = ModuleType("mutant")
    changed.__package__ = module.__package__
    sys.modules["mutant"] = changed  # dataclasses look their module up
    exec(compile(ast.fix_missing_locations(Without().visit(tree)), "mutant", "exec"), vars(changed))
    return changed


def _nodes(module: Any, functions: Collection[str]) -> tuple[ast.AST, list[tuple[str, ast.AST]]]:
    """The source, and (function, node) of each part in a fixed order."""
    tree = ast.parse(inspect.getsource(module))
    return tree, list(_parts(tree, functions))


def _parts(tree: ast.AST, functions: Collection[str]) -> Iterator[tuple[str, ast.AST]]:
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef) and function.name in functions:
            for node in ast.walk(function):
                match node:
                    case (
                        ast.Expr(value=ast.Call())
                        | ast.Assign(targets=[ast.Attribute() | ast.Subscript(), *_])
                        | ast.Subscript(slice=ast.Slice(lower=ast.expr()))
                        | ast.Subscript(slice=ast.Slice(upper=ast.expr()))
                    ):
                        yield function.name, node
