"""In a guest: parts of the product at work on its disk, until its power goes.

`guest_power.py DEVICE MOUNT_OPTIONS`: as `tests/system/power_child.py`, but what it hears and tells
goes over /dev/ttyS1, and a report has left the machine before the next thing is done.
"""

import json
import os
import subprocess
import sys
import termios
import traceback
import tty
from pathlib import Path

from tests.system import power_child

LINE = "/dev/ttyS1"
STATE = Path("/dev/state")  # a place that is writable in a guest


def tell(*words: object) -> None:
    """One line to the host; its last byte has left the UART when this returns."""
    os.write(1, json.dumps(words).encode() + b"\n")
    termios.tcdrain(1)


def mount(device: str, options: str) -> str:
    """What the disk said, "" when it is at STATE; the folders of the parts are durable then."""
    STATE.mkdir()
    words = ["busybox", "mount", "-t", "ext4", "-o", options, device, str(STATE)]
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    if done.returncode:
        return done.stderr.strip() or f"mount ends with {done.returncode}"
    for act in power_child.ACTS:
        (STATE / act).mkdir(exist_ok=True)
    os.sync()
    return ""


def main() -> None:
    """Forks an act for each line that it hears."""
    line = os.open(LINE, os.O_RDWR | os.O_NOCTTY)
    tty.setraw(line)
    os.dup2(line, 0)
    os.dup2(line, 1)
    power_child.say = tell
    tell("mounted", mount(*sys.argv[1:3]))
    for text in sys.stdin:
        act, seed, options = json.loads(text)
        pid = os.fork()
        if not pid:
            code = 1
            try:
                code = power_child.perform(act, STATE / act, seed, options)
            except BaseException:  # noqa: BLE001 - the host must see how it ended
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(code)
        tell("end", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


if __name__ == "__main__":
    main()
