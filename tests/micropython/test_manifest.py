"""protocols/manifest.py: the meter part, whole and closed, whoever adds a module."""

import ast
import shutil
from pathlib import Path

from tests.micropython.runtimes import ROOT, frozen_mark, meter_part, module_name

# With the reason: none of it is for a board that only talks to meters.
LEFT_OUT = {
    "protocols/audit/": "needs CBOR, and travels in envelopes only",
    "protocols/envelope/": "needs cryptography and CBOR",
    "protocols/manifest.py": "read when a firmware is built",
    "protocols/events.py": "what a gateway tells; it travels in envelopes only",
    "protocols/messages.py": "travels in envelopes only",
    "protocols/orders/": "travels in envelopes only",
    "protocols/topics.py": "names where envelopes go",
}


def plant(root: Path, name: str, source: str = "") -> Path:
    """A file under `root`, beside a manifest as it is."""
    path = root / "protocols" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source)
    shutil.copy(ROOT / "protocols" / "manifest.py", root / "protocols")
    return path


def test_the_manifest_names_every_module_but_those_left_out() -> None:
    """By listing, so that nothing is forgotten, and only what exists, once."""
    named = [str(path.relative_to(ROOT)) for path in meter_part(ROOT)]
    there = [str(path.relative_to(ROOT)) for path in (ROOT / "protocols").rglob("*.py")]
    assert sorted(named) == sorted(n for n in there if not n.startswith(tuple(LEFT_OUT)))
    assert named == sorted(set(named))
    assert {"protocols/__init__.py", "protocols/bcd.py", "protocols/modbus/plan.py"} <= set(named)


def test_a_new_module_belongs_to_it(tmp_path: Path) -> None:
    """A new folder too; what only has a similar name is not left out; data is."""
    names = ("new.py", "iec62056/frame.py", "dlt645/messages.py", "envelopes.py")
    wanted = [plant(tmp_path, name) for name in names]
    plant(tmp_path, "envelope/deep/seal.py")
    plant(tmp_path, "meter_models/one.toml")
    assert sorted(meter_part(tmp_path)) == sorted(wanted)


def test_the_meter_part_imports_nothing_that_is_left_out() -> None:
    """It is closed: what it imports of ours is in it."""
    names = {module_name(ROOT, path) for path in meter_part(ROOT)}
    for path in meter_part(ROOT):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("protocols"):
                both = {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
                assert both & names, f"{path.name} imports {node.module}"
                for full in both:
                    folder = f"{full}.".replace(".", "/")
                    assert not folder.startswith(tuple(LEFT_OUT))
                    assert full not in ("protocols.messages", "protocols.topics")


def test_a_changed_module_is_another_firmware(tmp_path: Path) -> None:
    """By its text, its name and the manifest; a file that is left out changes nothing."""
    module = plant(tmp_path, "new.py", "A = 1\n")
    marks = [frozen_mark(tmp_path)]
    plant(tmp_path, "topics.py")
    assert frozen_mark(tmp_path) == marks[0]
    module.write_text("A = 2\n")
    marks.append(frozen_mark(tmp_path))
    marks.append(frozen_mark(module.rename(module.with_name("other.py")).parents[1]))
    with (tmp_path / "protocols" / "manifest.py").open("a") as file:
        file.write("# another\n")
    marks.append(frozen_mark(tmp_path))
    assert len(set(marks)) == 4
