"""Why the agent starts: what the event `started` says of the run before."""

from edge.journal.follow import LastRun

BOOT_SCOPE, BOOT_NAME = "agent", "boot_id"  # memo: the boot in which the agent ran last

FIRST = "first start"
STOPPED = "it was stopped in order"
CRASHED = "the last run ended without being stopped: crash, kill or watchdog"
REBOOTED = "the machine restarted, and the agent had not been stopped: power cut or crash"
STOPPED_AND_REBOOTED = "it was stopped in order, and the machine restarted"
UNKNOWN = "the journal does not tell how the last run ended"
UNKNOWN_BOOT = "the last run ended without being stopped"


def cause_of(last: LastRun | None, boot_id: bytes) -> str:
    """In words, from how the last run ended and the present boot."""
    if last is None:
        return FIRST
    if last.is_clean is None:
        return UNKNOWN
    if not last.boot_id:
        return STOPPED if last.is_clean else UNKNOWN_BOOT
    if last.boot_id == boot_id:
        return STOPPED if last.is_clean else CRASHED
    return STOPPED_AND_REBOOTED if last.is_clean else REBOOTED
