"""Does this file of protocols/ run on MicroPython? Read from its syntax tree, nothing is executed.

What is listed here was tried on MicroPython 1.27 and fails there, or differs without a word. Two
files are left out: the binding to the CPython libraries for cryptography, CBOR and zlib, and the
manifest, which CPython reads when a firmware is built.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

BINDING = "protocols/envelope/suites.py"
MANIFEST = "protocols/manifest.py"

# Every module that may be imported, with what it has there; nothing listed: anything goes.
MODULES: dict[str, set[str]] = {
    "array": {"array"},
    "binascii": {"a2b_base64", "b2a_base64", "crc32", "hexlify", "unhexlify"},
    "collections": {"OrderedDict", "deque", "namedtuple"},
    "hashlib": {"sha256"},
    "json": {"dumps", "loads"},
    "micropython": set(),
    "protocols": set(),
    "struct": {"calcsize", "pack", "pack_into", "unpack", "unpack_from"},
}

MISSING_ATTRIBUTES = set(
    "__annotations__ __bases__ __cause__ __context__ __mro__ __qualname__ _asdict _field_defaults"
    " _fields _make _replace add_note as_integer_ratio bit_count bit_length capitalize casefold"
    " cast expandtabs format_map hexdigest is_integer isalnum isascii isdecimal isidentifier"
    " isnumeric isprintable ljust maketrans release removeprefix removesuffix rjust swapcase title"
    " tobytes translate with_traceback zfill".split()
)
MISSING_NAMES = set(
    "BaseExceptionGroup BlockingIOError BrokenPipeError BufferError ChildProcessError"
    " ConnectionError ConnectionResetError DeprecationWarning ExceptionGroup FileNotFoundError"
    " FloatingPointError InterruptedError IsADirectoryError ModuleNotFoundError PermissionError"
    " RecursionError ReferenceError SystemError TimeoutError UnboundLocalError UnicodeDecodeError"
    " UnicodeEncodeError Warning ascii breakpoint format vars".split()
)
MISSING_HOOKS = set("__class_getitem__ __format__ __init_subclass__ __new__ __set_name__".split())
NOT_BYTES = (ast.Tuple, ast.List, ast.ListComp, ast.GeneratorExp)
MISSING_ON_BYTEARRAY = set("clear copy insert pop remove reverse".split())

# Keywords that a call of that name takes on CPython only.
KEYWORDS = {
    "decode": "encoding errors",
    "deque": "iterable maxlen",
    "dumps": "allow_nan cls default ensure_ascii indent skipkeys sort_keys",
    "encode": "encoding errors",
    "from_bytes": "byteorder bytes signed",
    "loads": "cls object_hook object_pairs_hook parse_constant parse_float parse_int",
    "namedtuple": "defaults module rename",
    "rsplit": "maxsplit sep",
    "sha256": "data string usedforsecurity",
    "split": "maxsplit sep",
    "sum": "start",
    "to_bytes": "byteorder length signed",
    "zip": "strict",
}
CODECS = {"ascii", "utf-8"}
TYPES = set("bool bytearray bytes dict frozenset int list set str tuple type".split())


def portable_files(root: Path) -> list[Path]:
    """The files under `root` that must run on MicroPython."""
    left_out = {root / BINDING, root / MANIFEST}
    return sorted(path for path in root.glob("protocols/**/*.py") if path not in left_out)


def faults(root: Path) -> list[str]:
    """`file:line: reason` for everything under `root` that MicroPython cannot run."""
    return [
        f"{path.relative_to(root)}:{line}: {reason}"
        for path in portable_files(root)
        for line, reason in faults_in(path.read_text())
    ]


def faults_in(source: str) -> list[tuple[int, str]]:
    """(line, reason) for each fault of one file, in order."""
    try:
        tree = ast.parse(source)
    except SyntaxError as error:
        return [(error.lineno or 0, f"does not parse: {error.msg}")]
    buffers = _bytearrays(tree)
    found = []
    for node in _evaluated(tree):
        for check in CHECKS:
            found += [(_line(node), reason) for reason in check(node)]
        found += [(_line(node), reason) for reason in _bytearray_use(node, buffers)]
        found += [(_line(node), reason) for reason in _with_parentheses(node, source)]
    return sorted(set(found))


def _line(node: ast.AST) -> int:
    return getattr(node, "lineno", 0)


def _evaluated(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node but annotations, which MicroPython reads past."""
    pending = [tree]
    while pending:
        node = pending.pop()
        yield node
        for field, value in ast.iter_fields(node):
            if field not in ("annotation", "returns"):
                children = value if isinstance(value, list) else [value]
                pending += [child for child in children if isinstance(child, ast.AST)]


def _imports(node: ast.AST) -> Iterator[str]:
    binding = BINDING.removesuffix(".py").replace("/", ".")
    if isinstance(node, ast.Import):
        for alias in node.names:
            known = alias.name.partition(".")[0] in MODULES
            if not known or alias.name in (binding, "collections.abc"):
                yield f"imports {alias.name}"
    elif isinstance(node, ast.ImportFrom) and not node.level:
        module = node.module or ""
        has = MODULES.get(module.partition(".")[0])
        for alias in node.names:
            full = f"{module}.{alias.name}"
            if has is None or (has and alias.name not in has) or binding in (module, full):
                yield f"imports {full}"


def _slices(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Slice) and node.step is not None:
        yield "slice with a step"
    if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Del):
        if isinstance(node.slice, ast.Slice):
            yield "deletion of a slice"


def _statements(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Match):
        yield "match statement"
    if isinstance(node, ast.TryStar):
        yield "except*"
    if any(part.is_async for part in getattr(node, "generators", [])):
        yield "asynchronous comprehension"
    if getattr(node, "type_params", None) or type(node).__name__ == "TypeAlias":
        yield "type parameters"


def _classes(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.ClassDef):
        if len(node.bases) > 1:
            yield f"class {node.name} has several bases"
        for keyword in node.keywords:
            yield f"class {node.name} has the keyword {keyword.arg}"


def _functions(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        if node.name in MISSING_HOOKS:
            yield f"{node.name} is never called"
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        if node.args.posonlyargs:
            yield "positional-only parameters"


def _names(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Name) and node.id in MISSING_NAMES:
        yield f"there is no {node.id}"
    if isinstance(node, ast.Attribute):
        if node.attr in MISSING_ATTRIBUTES:
            yield f"there is no .{node.attr}"
        if isinstance(node.value, ast.Name):
            has = MODULES.get(node.value.id)
            if has and node.attr not in has:
                yield f"there is no {node.value.id}.{node.attr}"


def _calls(node: ast.AST) -> Iterator[str]:
    if not isinstance(node, ast.Call):
        return
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    for keyword in node.keywords:
        if keyword.arg in KEYWORDS.get(name, "").split():
            yield f"{name}() takes no keyword {keyword.arg}"
    values = [arg.value for arg in node.args if isinstance(arg, ast.Constant)]
    texts = [value for value in values if isinstance(value, str)]
    if name in MODULES["struct"] and texts:
        if texts[0][:1] not in ("<", ">") or set(texts[0]) & set(" ?"):
            yield f"struct format {texts[0]!r}: a byte order first, no blank and no '?'"
    if name in ("decode", "encode") and not CODECS.issuperset(texts):
        yield f"{name}() knows ASCII and UTF-8 only, and no error handling"
    if name == "deque" and len(node.args) < 2:
        yield "deque() needs an iterable and a length"


def _types_at_run_time(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
        if node.value.id in TYPES:
            yield f"{node.value.id}[…] is evaluated"
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        for side in (node.left, node.right):
            if (isinstance(side, ast.Constant) and side.value is None) or (
                isinstance(side, ast.Name) and side.id in TYPES
            ):
                yield "a union of types is evaluated"


def _unpacking(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.List | ast.Tuple | ast.Set):
        starred = [item for item in node.elts if isinstance(item, ast.Starred)]
        if any(isinstance(item.ctx, ast.Load) for item in starred):
            yield "unpacking inside a display"
    if isinstance(node, ast.Dict) and None in node.keys:
        yield "unpacking inside a display"


CHECKS = (
    _imports,
    _slices,
    _statements,
    _classes,
    _functions,
    _names,
    _calls,
    _types_at_run_time,
    _unpacking,
)


def _with_parentheses(node: ast.AST, source: str) -> Iterator[str]:
    """The syntax tree forgets the parentheses, the text before the first item does not."""
    if isinstance(node, ast.With | ast.AsyncWith):
        first = node.items[0].context_expr
        before = source.splitlines()[node.lineno - 1 : first.lineno]
        before[-1] = before[-1].encode()[: first.col_offset].decode()
        if "(" in "".join(before)[node.col_offset :]:
            yield "with and parentheses"


def _bytearrays(tree: ast.AST) -> set[str]:
    """The names, `self.x` included, that are seen to hold a bytearray."""
    names = set()
    for node in ast.walk(tree):
        targets: list[ast.AST] = []
        if isinstance(node, ast.Assign | ast.AnnAssign) and _is_bytearray(node.value):
            targets = list(node.targets) if isinstance(node, ast.Assign) else [node.target]
        elif isinstance(node, ast.AnnAssign) and _is_bytearray(node.annotation):
            targets = [node.target]
        elif isinstance(node, ast.arg) and _is_bytearray(node.annotation):
            names.add(node.arg)
        names.update(ast.unparse(target) for target in targets)
    return names


def _is_bytearray(node: ast.AST | None) -> bool:
    if isinstance(node, ast.Call):
        node = node.func
    return isinstance(node, ast.Name) and node.id == "bytearray"


def _bytearray_use(node: ast.AST, buffers: set[str]) -> Iterator[str]:
    if isinstance(node, ast.Attribute) and node.attr in MISSING_ON_BYTEARRAY:
        if ast.unparse(node.value) in buffers:
            yield f"bytearray has no .{node.attr}"
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        made = [one for one in node.args if isinstance(one, NOT_BYTES)]
        if node.func.attr == "extend" and made and ast.unparse(node.func.value) in buffers:
            yield "bytearray.extend() takes bytes only"
    if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Del):
        if not isinstance(node.slice, ast.Slice) and ast.unparse(node.value) in buffers:
            yield "deletion from a bytearray"
