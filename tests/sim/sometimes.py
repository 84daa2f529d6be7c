"""What must have happened in a run of enough worlds: a fault that never struck proves nothing."""

from collections import Counter

SEEDS_MIN = 50  # worlds from which on the table binds
MINIMA = {  # mark -> times, in SEEDS_MIN worlds or more; about a tenth of what is usual
    "adapter_lost": 2,
    "answer_address": 1,
    "answer_checksum": 2,
    "answer_late": 10,
    "answer_of_another": 5,
    "answer_silent": 10,
    "answer_truncate": 1,
    "batch_sent_again": 20,
    "broker_down": 3,
    "broker_forgot": 1,
    "clock_back": 2,
    "clock_day_back": 2,
    "clock_day_forward": 2,
    "clock_drifting": 6,
    "clock_forward": 2,
    "clock_unsynced": 2,
    "collision": 2,
    "crash_in_order": 1,
    "cut_at_order": 5,
    "gateway_killed": 2,
    "gateway_machine_commit_cut": 1,
    "gateway_machine_disk_error": 2,
    "gateway_machine_disk_full": 5,
    "gateway_power_cut": 2,
    "head_end_killed": 2,
    "head_end_machine_commit_cut": 1,
    "head_end_machine_disk_error": 2,
    "head_end_machine_disk_full": 10,
    "head_end_power_cut": 2,
    "line_noise_heard": 20,
    "link_half_open": 10,
    "message_came_again": 40,
    "message_delayed": 70,
    "message_held": 8,
    "message_lost": 10,
    "message_misrouted": 10,
    "message_overtaken": 100,
    "message_repeated": 30,
    "messages_reordered": 2,
    "meter_cjt188": 2,
    "meter_dlt645-1997": 3,
    "meter_dlt645-2007": 15,
    "meter_modbus": 4,
    "meter_modbus-tcp": 4,
    "order_done": 15,
    "order_to_another_gateway": 10,
    "order_unknown": 2,
    "publish_overtaken": 80,
    "refused_at_gateway": 80,
    "refused_at_head_end": 20,
    "rows_purged": 20,
    "rows_retimed": 5,
    "set_sent_without_time": 50,
    "several_gateways": 3,
    "stale_bytes": 50,
    "stray_frame": 1,
    "stream_lost": 1,
    "torn_write": 1,
}


def never_happened(marks: Counter[str]) -> list[str]:
    """What did not happen often enough."""
    return [
        f"{name} ({marks[name]} of {least})"
        for name, least in MINIMA.items()
        if marks[name] < least
    ]


def table(marks: Counter[str]) -> str:
    """How often each thing happened."""
    names = sorted({name for name in marks if not name.startswith("log ")} | set(MINIMA))
    return "\n".join(f"{marks[name]:9d}  {name}" for name in names)
