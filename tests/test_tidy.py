"""Style is a test: sizes, names, docstrings, floats, words, and the locked requirements.

Every check takes the root of a tree and gives its findings, so that each is tried on a planted
fault.
"""

import ast
import json
import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
PACKAGES = ("protocols", "edge", "cloud", "hil", "provisioning")
FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 70
BANNED_FILES = {"common.py", "helpers.py", "misc.py", "util.py", "utils.py"}
BANNED_FOLDERS = {"common", "util", "utils"}
WITHOUT_FLOAT = ("protocols", "cloud/fees")
FLOAT_MODULES = {"cmath", "math", "statistics"}
STRUCT_FLOAT = re.compile(r"[@=<>!]?[0-9]*[efd]$|[@=<>!][0-9a-zA-Z]*[efd]")
PROMISES = re.compile(r"\b(TO" + "DO|FIX" + "ME|X" + r"XX)\b")
# Modules that nothing imports yet, each with its reason. May only shrink.
ORPHANS_ALLOWED = {
    "hil.delay_proxy": "system tests put it in front of a broker",
    "protocols.manifest": "MicroPython's build reads it",
}


def sources(root: Path, *folders: str) -> Iterator[tuple[str, str, ast.Module]]:
    """(name, text, tree) of every Python file in these folders."""
    for folder in folders:
        for path in sorted((root / folder).rglob("*.py")):
            if "node_modules" not in path.parts:
                text = path.read_text()
                yield str(path.relative_to(root)), text, ast.parse(text)


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function, methods and inner ones included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def long_files(root: Path) -> list[str]:
    """Files that no longer fit in a head."""
    return [
        f"{name}: {len(text.splitlines())} lines, limit {FILE_LINES_MAX}"
        for name, text, _ in sources(root, *PACKAGES)
        if len(text.splitlines()) > FILE_LINES_MAX
    ]


def long_functions(root: Path) -> list[str]:
    """Functions that no longer fit on a screen."""
    found = []
    for name, _, tree in sources(root, *PACKAGES):
        for node in functions(tree):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > FUNCTION_LINES_MAX:
                found.append(f"{name}:{node.lineno}: {node.name} has {lines} lines")
    return found


def drawers(root: Path) -> list[str]:
    """Files and folders whose name says nothing, where everything ends up."""
    return [
        f"{name}: a name that says nothing"
        for name, _, _ in sources(root, *PACKAGES)
        if Path(name).name in BANNED_FILES or BANNED_FOLDERS & set(Path(name).parts[:-1])
    ]


def silent_modules(root: Path) -> list[str]:
    """Modules that do not open with what they guarantee."""
    return [
        f"{name}: no docstring"
        for name, text, tree in sources(root, *PACKAGES, "tests")
        if text.strip() and not ast.get_docstring(tree)
    ]


def floats(root: Path) -> list[str]:
    """Where energy or money could meet a float: types, literals, true division, struct formats."""
    return [
        f"{name}:{getattr(node, 'lineno', 0)}: {reason}"
        for name, _, tree in sources(root, *WITHOUT_FLOAT)
        for node in ast.walk(tree)
        for reason in _float_in(node)
    ]


def _float_in(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Name) and node.id in ("float", "complex"):
        yield node.id
    if isinstance(node, ast.Constant) and isinstance(node.value, float | complex):
        yield f"the literal {node.value!r}"
    if isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div):
        yield "true division"
    if isinstance(node, ast.Import):
        yield from (f"import of {a.name}" for a in node.names if a.name in FLOAT_MODULES)
    if isinstance(node, ast.ImportFrom) and node.module in FLOAT_MODULES:
        yield f"import of {node.module}"
    if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        form = node.args[0].value
        if name in ("pack", "pack_into", "unpack", "unpack_from", "iter_unpack", "Struct", "array"):
            if isinstance(form, str) and STRUCT_FLOAT.match(form):
                yield f"the struct format {form!r}"


def promises(root: Path) -> list[str]:
    """Work that was left for later, in the code instead of being done or tracked."""
    return [
        f"{name}:{number}: {line.strip()}"
        for name, text, _ in sources(root, *PACKAGES, "tests")
        for number, line in enumerate(text.splitlines(), 1)
        if PROMISES.search(line)
    ]


def orphans(root: Path) -> list[str]:
    """Modules that no other module of the product imports: dead code, or not wired in."""
    modules, imported = set(), set()
    for name, text, tree in sources(root, *PACKAGES):
        module = name.removesuffix(".py").replace("/", ".")
        if not module.endswith(("__init__", "__main__")) and '__name__ == "__main__"' not in text:
            modules.add(module)
        imported |= {found for found in _imports(tree, module) if found != module}
    return sorted(modules - imported)


def _imports(tree: ast.AST, module: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            parents = module.split(".")[: -node.level] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def idle_tests(root: Path) -> list[str]:
    """Tests in which nothing can fail but an exception."""
    return [
        f"{name}:{node.lineno}: {node.name} asserts nothing"
        for name, _, tree in sources(root, "tests")
        for node in functions(tree)
        if node.name.startswith("test_") and not any(map(_claims, ast.walk(node)))
    ]


def _claims(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        return bool(re.match(r"(assert|check|expect|verify)|(raises|warns|fail)$", name))
    return isinstance(node, ast.Assert)


def loose_requirements(root: Path) -> list[str]:
    """Locked files that name a place to fetch from, or a release without exact version and hash."""
    found = []
    for path in sorted((root / "requirements").glob("*.txt")):
        text = path.read_text().replace("\\\n", " ")
        for line in text.splitlines():
            name = line.split(" ")[0]
            if re.search(r"://|^\s*-|file:|@", line):
                found.append(f"{path.name}: {name} names a place")
            elif line.strip() and not re.search(r"^\S+==\S+ .*--hash=sha256:[0-9a-f]{64}", line):
                found.append(f"{path.name}: {name} is not locked")
    for path in sorted(root.glob("tests/**/package-lock.json")):
        if "node_modules" not in path.parts:
            for name, package in json.loads(path.read_text())["packages"].items():
                if name and ("resolved" in package or "integrity" not in package):
                    found.append(f"{path.name}: {name} names a place, or is not locked")
    return found


def unlocked_requirements(root: Path) -> list[str]:
    """What pyproject.toml asks for and the lock does not hold: `make lock` was forgotten."""
    project = tomllib.loads((root / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    wanted = project["build-system"]["requires"] + [
        one for extra in extras.values() for one in extra
    ]
    pins = re.findall(r"(?m)^(\S+)==(\S+)", (root / "requirements" / "dev.txt").read_text())
    locked = dict(pins)
    found = []
    for requirement in map(Requirement, wanted):
        version = locked.get(requirement.name)
        if requirement.name != "busbar" and (
            version is None or version not in requirement.specifier
        ):
            found.append(f"{requirement} is locked at {version}")
    return found


def disagreeing_requirements(root: Path) -> list[str]:
    """What demo locks and dev does not: the tests must run on what the demo runs on."""
    demo, dev = ((root / "requirements" / f"{name}.txt").read_text() for name in ("demo", "dev"))
    return sorted(set(re.findall(r"(?m)^\S+", demo)) - set(re.findall(r"(?m)^\S+", dev)))


CHECKS: dict[Callable[[Path], list[str]], tuple[str, str]] = {
    long_files: ("edge/a.py", "x = 1\n" * 401),
    long_functions: ("edge/a.py", "def f():\n" + "    x = 1\n" * 70),
    drawers: ("cloud/utils.py", '"""A drawer."""\n'),
    silent_modules: ("hil/a.py", "x = 1\n"),
    floats: ("cloud/fees/a.py", "x = 1.5\n"),
    promises: ("edge/a.py", "# TO" + "DO: later\n"),
    idle_tests: ("tests/test_a.py", "def test_a():\n    print(1)\n"),
    loose_requirements: ("requirements/a.txt", "pytest==9.2.0\n"),
}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_tree_is_tidy(check: Callable[[Path], list[str]]) -> None:
    """The check finds nothing in this repository."""
    assert check(ROOT) == []


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_a_planted_fault_is_found(check: Callable[[Path], list[str]], tmp_path: Path) -> None:
    """The check finds its fault, and only once it is there."""
    name, text = CHECKS[check]
    path = tmp_path / name
    path.parent.mkdir(parents=True)
    assert check(tmp_path) == []
    path.write_text(text)
    assert len(check(tmp_path)) == 1


def test_nothing_is_orphaned() -> None:
    """Every module is imported by the product; the list of exceptions holds no stale entry."""
    assert orphans(ROOT) == sorted(ORPHANS_ALLOWED)


def test_an_orphan_is_found(tmp_path: Path) -> None:
    """A module that only imports itself is an orphan; entry points and imported ones are not."""
    package = tmp_path / "edge"
    package.mkdir()
    for name in ("__init__", "__main__", "used", "lost"):
        (package / f"{name}.py").write_text("")
    (package / "__main__.py").write_text("from . import used\n")
    (package / "lost.py").write_text("import edge.lost\n")
    assert orphans(tmp_path) == ["edge.lost"]


@pytest.mark.parametrize(
    "text",
    [
        "float(1)",
        "x: float",
        "1e3",
        "2j",
        "1 / 2",
        "x /= 2",
        "import math",
        "from statistics import mean",
        "struct.unpack('>f', x)",
        "unpack_from('<2Hd', x, 0)",
        "array('d')",
    ],
)
def test_each_way_to_a_float_is_found(text: str, tmp_path: Path) -> None:
    """Types, literals, division, modules and struct formats."""
    (tmp_path / "protocols").mkdir()
    (tmp_path / "protocols" / "a.py").write_text(f"{text}\n")
    assert len(floats(tmp_path)) == 1


def test_integers_are_no_floats(tmp_path: Path) -> None:
    """What the banned folders may do is not reported."""
    (tmp_path / "protocols").mkdir()
    (tmp_path / "protocols" / "a.py").write_text(
        '"""A float in words, 1.5."""\nx = 7 // 2 % 3\nunpack(">HHq", b"fd")\nprint("1/2", "d")\n'
    )
    assert floats(tmp_path) == []


@pytest.mark.parametrize(
    "line", ["--index-url x", "a @ file:b", "a==1 --hash=sha256:0", "a>=1", "# via x://y"]
)
def test_a_loose_requirement_is_found(line: str, tmp_path: Path) -> None:
    """Places, missing hashes and open versions."""
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements" / "a.txt").write_text(line + "\n")
    assert len(loose_requirements(tmp_path)) == 1


def test_an_npm_lock_that_names_a_registry_is_found(tmp_path: Path) -> None:
    """The lock holds hashes only, so that any registry will do."""
    (tmp_path / "tests").mkdir()
    lock = {"packages": {"": {}, "a": {"integrity": "x", "resolved": "y"}, "b": {"integrity": "x"}}}
    (tmp_path / "tests" / "package-lock.json").write_text(json.dumps(lock))
    assert len(loose_requirements(tmp_path)) == 1


def test_the_locks_agree(tmp_path: Path) -> None:
    """The tests run on the very releases that the demo runs on."""
    assert disagreeing_requirements(ROOT) == []
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements" / "demo.txt").write_text("a==1 \\\n  x\nb==2 \\\n  x\n")
    (tmp_path / "requirements" / "dev.txt").write_text("a==1 \\\n  x\nb==3 \\\n  x\n")
    assert disagreeing_requirements(tmp_path) == ["b==2"]


def test_the_lock_is_fresh(tmp_path: Path) -> None:
    """The locked releases are those that pyproject.toml asks for."""
    assert unlocked_requirements(ROOT) == []
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements" / "dev.txt").write_text("a==2.5 \\\n  x\nb==1 \\\n  x\n")
    (tmp_path / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["b==1"]\n[project.optional-dependencies]\n'
        'demo = ["a>=2,<3"]\ndev = ["busbar[demo]", "a>=3", "c"]\n'
    )
    assert unlocked_requirements(tmp_path) == ["a>=3 is locked at 2.5", "c is locked at None"]
