"""The meter part of protocols/ as a MicroPython manifest: what a firmware freezes.

It is all of protocols/ but the sealed envelope, which needs libraries of CPython, and the messages
with their topics, orders and audit chain, which travel in nothing else. A new module belongs to it
without being named here. Meter models are left out too: they are TOML, which MicroPython does not
read.

usage: make -C ports/PORT FROZEN_MANIFEST=/path/to/protocols/manifest.py

MicroPython's build runs this file on CPython, in its own folder, and brings `metadata` and
`package`; nothing imports it.
"""

import os

APART = (
    "audit",
    "envelope",
    "events.py",
    "manifest.py",
    "messages.py",
    "orders",
    "topics.py",
)


def meter_part() -> list[str]:
    """The modules of the meter part, as paths relative to this folder, in order."""
    found = []
    for folder, _, names in os.walk("."):
        for name in names:
            path = os.path.relpath(f"{folder}/{name}").replace(os.sep, "/")
            if name.endswith(".py") and path.split("/")[0] not in APART:
                found.append(path)
    return sorted(found)


metadata(  # type: ignore[name-defined]  # noqa: F821
    description="Busbar's meter protocols: DL/T 645 and Modbus, integers only", license="Apache-2.0"
)
package(  # type: ignore[name-defined]  # noqa: F821
    "protocols", files=meter_part(), base_path=".."
)
