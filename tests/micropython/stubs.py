"""Cut the MicroPython stubs down to what a real runtime has.

The published stubs still offer what no MicroPython has: `str.zfill`, `int.bit_length`,
`bytearray.pop`, `TimeoutError`, `struct.Struct`. The runtime itself knows better: its `dir()` of
every built-in type and of every module that protocols/ may import is the measure here.

usage: python -m tests.micropython.stubs FOLDER   (rewrites the stubs in FOLDER in place)
"""

import ast
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.micropython.portability import MODULES
from tests.micropython.runtimes import Wasm

# Printed by the runtime: module -> name -> the members of that type (nothing for a function).
ASK = """
import json
found = {}
for module in MODULES:
    one = __import__(module)
    found[module] = {
        name: dir(getattr(one, name)) if isinstance(getattr(one, name), type) else []
        for name in dir(one)
    }
print(json.dumps(found))
"""
# Spoken of by the stubs alone: for the type checker, or understood without standing in dir().
KEPT = {"ellipsis", "function", "reveal_locals", "reveal_type", "type"}


Has = dict[str, dict[str, list[str]]]


def what_the_runtime_has() -> Has:
    """Module -> name -> members, as the WebAssembly runtime says."""
    modules = [*sorted(set(MODULES) - {"protocols"}), "builtins"]
    with tempfile.TemporaryDirectory() as stage:
        has: Has = json.loads(Wasm().run(Path(stage), f"MODULES = {modules}\n{ASK}"))
    return has


def cut(source: str, names: dict[str, list[str]], *, is_builtins: bool) -> str:
    """The stub without the functions, methods and errors that the runtime lacks."""
    tree = ast.parse(source)
    lines = source.splitlines()
    for node in _absent(tree.body, names, is_builtins):
        first = min([node.lineno, *(one.lineno for one in getattr(node, "decorator_list", []))])
        for number in range(first - 1, node.end_lineno or node.lineno):
            lines[number] = ""
        lines[first - 1] = " " * node.col_offset + "pass"
    for node in _classes(tree.body):
        members = names.get(node.name)
        if members and "insert" not in members:  # what every mutable sequence must have
            at = node.lineno - 1
            lines[at] = lines[at].replace("(MutableSequence[", "(Sequence[")
    return "\n".join(lines) + "\n"


def _absent(
    body: list[ast.stmt], names: dict[str, list[str]], is_builtins: bool
) -> Iterator[ast.stmt]:
    """The statements of one level that the runtime has nothing for; both arms of each `if`."""
    for node in body:
        if isinstance(node, ast.If):
            yield from _absent(node.body + node.orelse, names, is_builtins)
        elif isinstance(node, ast.FunctionDef):
            if _is_public(node.name) and node.name not in names:
                yield node
        elif isinstance(node, ast.ClassDef):
            if node.name in names:
                yield from _absent_methods(node.body, names[node.name])
            elif _is_public(node.name) and (not is_builtins or _is_error(node)):
                yield node
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Name):
            alias = node.targets[0]  # EnvironmentError = OSError
            if isinstance(alias, ast.Name) and alias.id[0].isupper() and alias.id not in names:
                yield node


def _absent_methods(body: list[ast.stmt], members: list[str]) -> Iterator[ast.stmt]:
    for node in body:
        if isinstance(node, ast.If):
            yield from _absent_methods(node.body + node.orelse, members)
        elif isinstance(node, ast.FunctionDef):
            if _is_public(node.name) and node.name not in members:
                yield node


def _classes(body: list[ast.stmt]) -> Iterator[ast.ClassDef]:
    for node in body:
        if isinstance(node, ast.If):
            yield from _classes(node.body + node.orelse)
        elif isinstance(node, ast.ClassDef):
            yield node


def _is_public(name: str) -> bool:
    return not name.startswith("_") and name not in KEPT


def _is_error(node: ast.ClassDef) -> bool:
    return node.name.endswith(("Error", "Exception", "ExceptionGroup", "Warning"))


def main(folder: Path) -> None:
    """Rewrite the stub of each module that the runtime was asked about."""
    for module, names in what_the_runtime_has().items():
        places = [folder / "stdlib" / module, folder / module]
        files = [path for at in places for path in (at.with_suffix(".pyi"), at / "__init__.pyi")]
        path = next(path for path in files if path.exists())
        path.write_text(cut(path.read_text(), names, is_builtins=module == "builtins"))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
