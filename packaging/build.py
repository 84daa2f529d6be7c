"""`make deb`: the package of the gateway and of the technician's tool, for each architecture.

usage: python packaging/build.py [--arch amd64] [--arch arm64] [--out dist]

* Nothing is compiled: libraries come as wheels from the index that pip is set to, and only those
  whose hashes requirements/edge.txt holds.
* The same tree gives the same bytes. Times in the package are SOURCE_DATE_EPOCH, or the time of the
  last commit when it is not set.

Exit codes: 0 done · 1 a wheel could not be had, or dpkg-deb failed · 2 wrong use, or a tree that
cannot be packed.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from busbar_deb.package import ARCHITECTURES, build
from busbar_deb.wheels import PackError, fetch

ROOT = Path(__file__).resolve().parent.parent


def main(argv: list[str] | None = None) -> int:
    """Entry point of the command."""
    parser = argparse.ArgumentParser(prog="build.py", description="Builds Busbar's packages.")
    parser.add_argument(
        "--arch", action="append", choices=ARCHITECTURES, help="default all; may be repeated"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="default dist/")
    parser.add_argument("--source", type=Path, default=ROOT, help="the tree that is packed")
    parser.add_argument(
        "--cache", type=Path, default=ROOT / "build" / "deb", help="where wheels are kept"
    )
    arguments = parser.parse_args(argv)
    try:
        epoch = _epoch(arguments.source)
        arguments.out.mkdir(parents=True, exist_ok=True)
        for architecture in arguments.arch or ARCHITECTURES:
            wheels = fetch(arguments.source, arguments.cache, architecture)
            path = build(arguments.source, arguments.out, architecture, wheels, epoch)
            print(f"{path} {path.stat().st_size / 1e6:.1f} MB")
    except PackError as error:
        print(f"busbar: {error}", file=sys.stderr)
        return 2
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"busbar: the package was not built: {error}", file=sys.stderr)
        return 1
    return 0


def _epoch(source: Path) -> int:
    """The time that every file of the package carries, in seconds since 1970."""
    text = os.environ.get("SOURCE_DATE_EPOCH")
    if text is None:
        git = subprocess.run(
            ["git", "-C", str(source), "log", "-1", "--format=%ct"],
            capture_output=True,
            text=True,
            check=False,
        )
        text = git.stdout.strip()
        if git.returncode != 0 or not text:
            raise PackError("this tree has no commit to date the package by: set SOURCE_DATE_EPOCH")
    if not text.isdecimal():
        raise PackError(f"SOURCE_DATE_EPOCH is {text!r}: seconds since 1970 are allowed")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
