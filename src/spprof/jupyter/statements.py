"""Running a piece of a cell here and now, with the names of whoever asks for it.

Must not know the profiler, nor IPython: it is given a syntax tree and a way to compile it.
"""

from __future__ import annotations

import ast
import builtins
import dis
from collections.abc import Iterator, MutableMapping
from types import CodeType, FunctionType
from typing import Any, Callable

Compile = Callable[..., CodeType]
Run = Callable[[], Any]

_KEEP, _LOCALS = "__spprof_keep__", "__spprof_locals__"


def prepared(
    tree: ast.Module,
    filename: str,
    compile_tree: Compile,
    namespace: dict[str, Any],
    scope: MutableMapping[str, Any],
) -> Run:
    """Compile statements; what is returned runs them and gives the value of the last expression.

    Parameters
    ----------
    tree : ast.Module
    filename : str
    compile_tree : callable
        As `compile`.
    namespace : dict
        Global names.
    scope : mapping
        Local names, the same as `namespace` at the top of a module. Assignments go there.
    """
    value: CodeType | None = None
    whole = compile_tree(tree, filename, "exec")
    # Functions inside, generators and comprehensions among them, see their surroundings only where
    # those are a function: so that is made of them.
    if scope is not namespace and any(isinstance(each, CodeType) for each in whole.co_consts):
        return _as_function(tree, whole, filename, compile_tree, namespace, scope)
    body = tree
    if tree.body and isinstance(tree.body[-1], ast.Expr):
        body = ast.Module(tree.body[:-1], [])
        value = compile_tree(ast.Expression(tree.body[-1].value), filename, "eval")
    code = compile_tree(body, filename, "exec")

    def run() -> Any:
        __tracebackhide__ = True
        exec(code, namespace, scope)
        return eval(value, namespace, scope) if value is not None else None

    return run


def repeated(run: Run, times: int) -> Run:
    """Run it so many times; the value is the last one's."""

    def runs() -> Any:
        __tracebackhide__ = True
        for _ in range(times - 1):
            run()
        return run()

    return runs


def _as_function(
    tree: ast.Module,
    whole: CodeType,
    filename: str,
    compile_tree: Compile,
    namespace: dict[str, Any],
    scope: MutableMapping[str, Any],
) -> Run:
    stored = {
        each.argval
        for each in dis.get_instructions(whole)
        if each.opname in ("STORE_NAME", "DELETE_NAME")
    }
    declared = {
        name for node in ast.walk(tree) if isinstance(node, ast.Global) for name in node.names
    }
    names = set(_names(whole)) - declared
    values = {name: scope[name] for name in names if name in scope}
    # What is assigned is local to a function from its beginning, and may be read before.
    for name in (names & stored) - values.keys():
        if name in namespace:
            values[name] = namespace[name]

    def keep(found: dict[str, Any]) -> None:
        for name in found.keys() & stored:
            if name not in values or found[name] is not values[name]:
                scope[name] = found[name]

    first = tree.body[0].lineno
    header = ", ".join([_KEEP, _LOCALS, *sorted(values)])
    made = ast.parse(f"def run({header}):\n try: pass\n finally: {_KEEP}({_LOCALS}())")
    for node in ast.walk(made):
        if isinstance(node, (ast.stmt, ast.expr, ast.arg)):
            node.lineno = node.end_lineno = first
    definition: Any = made.body[0]
    body = list(tree.body)
    if isinstance(body[-1], ast.Expr):
        body[-1] = ast.copy_location(ast.Return(body[-1].value), body[-1])
    definition.body[0].body = body
    compiled = compile_tree(made, filename, "exec")
    (code,) = (each for each in compiled.co_consts if isinstance(each, CodeType))
    names_of_code = {"co_name": whole.co_name}
    if hasattr(code, "co_qualname"):
        names_of_code["co_qualname"] = whole.co_name
    function = FunctionType(code.replace(**names_of_code), namespace)  # type: ignore[arg-type]

    def run() -> Any:
        __tracebackhide__ = True
        return function(keep, builtins.locals, **values)

    return run


def _names(code: CodeType) -> Iterator[str]:
    """Names that code and the functions in it take from outside of functions."""
    yield from code.co_names
    for each in code.co_consts:
        if isinstance(each, CodeType):
            yield from _names(each)
