#!/usr/bin/python3 -IS
"""Starts a command of this release under the system's Python, with this release's libraries only:
neither the environment nor other packages of Python can put anything in their place."""

import sys
from pathlib import Path

PYTHONS = ((0, 0),)  # the builder writes those that the libraries are for

command = Path(sys.argv[0]).name
if sys.version_info[:2] not in PYTHONS:
    here, *there = (f"{major}.{minor}" for major, minor in (sys.version_info[:2], *PYTHONS))
    sys.exit(
        f"{command}: {sys.executable} is Python {here}, and this package has libraries for "
        f"Python {' and '.join(there)} only"
    )
# The release, not `current`: what starts from this one also ends with it.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "lib"))
sys.dont_write_bytecode = True  # postinst has compiled all; a leftover would outlive the package

if command == "busbar-provision":
    from provisioning.__main__ import main
else:
    from edge.__main__ import main

sys.exit(main())
