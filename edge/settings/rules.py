"""The tables of edge.toml: what each section may hold.

The rule tables are the truth: the check, the message and docs/operations.md come from them.
"""

from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from edge.meters.dlt645_quantities import EDITION_AUTO, EDITIONS
from protocols.cjt188 import settings as cjt188
from protocols.dlt645.frame import is_meter_address
from protocols.dlt645.identifiers import identifier_bytes
from protocols.errors import BusbarError
from protocols.obis import Obis
from protocols.orders.windows import ALLOWED as ALLOWED_WINDOWS
from protocols.orders.windows import is_window
from protocols.settings import REQUIRED, Rule, choice, flag, matching, text, texts, whole
from protocols.topics import is_name

DLT645 = "dlt645-2007"
MODBUS = "modbus"  # RTU, on a tty or through a serial server
MODBUS_TCP = "modbus-tcp"
CJT188 = "cjt188"  # water, gas and heat meters
PROTOCOLS = (DLT645, MODBUS, MODBUS_TCP, CJT188)
TCP_PORT = "socket://"
RFC2217_PORT = "rfc2217://"
PORT_SIZE_MAX = 255  # characters
_PORT_TEXT = "a device's path, socket://host:port or rfc2217://host:port"
_NAME = "1 to 32 of a-z, 0-9 and -, not starting with -"
METERS_MAX = 1024
LINES_MAX = 32
GROUPS_MAX = 8  # register groups of one meter, besides its own
BAUD_RATES = (600, 1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200)
PARITIES = ("E", "N", "O")
ALIGNS = ("clock", "interval")


def is_meter_id(value: str) -> bool:
    """Whether a text may name a meter: 1 to 64 printable characters without spaces. A slash parts
    a meter's name from that of its register group."""
    return (
        0 < len(value) <= 64
        and value.isascii()
        and value.isprintable()
        and not any(one in value for one in " /")
    )


def is_time_zone(value: str) -> bool:
    """Whether a text names a time zone of this system's database."""
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def is_port(value: str) -> bool:
    """Whether a text may name a line's port. The serial library knows more schemes, and one of them
    writes to a file that the URL names."""
    return 0 < len(value) <= PORT_SIZE_MAX and (
        "://" not in value or value.startswith((TCP_PORT, RFC2217_PORT))
    )


def is_quantity(value: str) -> bool:
    """Whether a text is an OBIS code, or a DL/T 645 identifier of 8 hex digits, or 4 of 1997."""
    try:
        Obis.from_text(value) if ":" in value else identifier_bytes(value)
    except BusbarError:
        return False
    return True


GATEWAY_RULES = (
    matching("id", is_name, _NAME, REQUIRED, "the gateway's name: topics and certificate carry it"),
    matching("tenant", is_name, _NAME, REQUIRED, "whose gateway it is"),
    text("state_dir", REQUIRED, "folder of the journal, the counters and the status socket"),
    text("identity_dir", REQUIRED, "folder made by `busbar-provision init`"),
    choice("log", ("debug", "info", "warning"), "info", "how much is logged"),
    flag("allow_over_budget", False, "run a schedule that a line has no time for"),
    flag("remote_mqtt", False, "a remote configuration may change [mqtt] too"),
)
MQTT_RULES = (
    text("host", REQUIRED, "the broker"),
    whole("port", 1, 65535, 8883, "its port"),
    choice("version", (5, 3), 5, "MQTT 5, or 3 for 3.1.1; never downgraded silently"),
    flag("tls", True, "mutual TLS with the identity's certificate"),
    whole("keepalive_s", 5, 1200, 60, "seconds between pings on an idle connection"),
    whole("reconnect_s_max", 1, 3600, 300, "longest wait between two attempts to connect (s)"),
)
JOURNAL_RULES = (
    whole("commit_sets", 1, 500, 50, "reading sets that are committed together"),
    whole("commit_interval_ms", 10, 60_000, 5_000, "longest time a reading waits for its commit"),
    whole("size_mb_max", 1, 100_000, 1024, "size of the journal file, at most"),
    whole("archive_days", 1, 3650, 90, "days that acknowledged readings are kept"),
    whole("ballast_kb", 0, 1_000_000, 16_384, "space kept back for a full disk"),
)
UPLINK_RULES = (
    whole("batch_sets", 1, 2000, 50, "reading sets of a batch, at most"),
    whole(
        "linger_ms",
        100,
        3_600_000,
        60_000,
        "longest time a live reading waits for its batch to fill",
    ),
    whole("window", 2, 64, 8, "batches sent and not yet acknowledged"),
    whole("ack_timeout_ms", 500, 600_000, 30_000, "then a batch is sent again, later each time"),
    whole(
        "bytes_per_day",
        0,
        1_000_000_000_000,
        0,
        "what may be sent in a UTC day, for metered SIM cards; 0 for no limit",
    ),
    whole(
        "catch_up_jitter_s",
        0,
        3_600,
        30,
        "a backlog begins at a random time within this after a connection (s)",
    ),
)
COLLECT_RULES = (
    whole("meter_utc_offset_min", -720, 840, 480,
          "what the meters' clocks are ahead of UTC (min); 480 in China"),
    flag("backfill", True, "fill gaps from the meters' own freezes and load records"),
    whole("backfill_days", 1, 62, 31, "days back that a gap is filled, at most"),
    whole("events_period_s", 0, 604_800, 3_600,
          "between two looks at a meter's event counts (s); 0 for never"),
    whole("clock_period_s", 0, 604_800, 21_600,
          "between two looks at a meter's clock (s); 0 for never"),
    flag("correct_meter_clocks", False,
         "set meters' clocks that are off; only a remote configuration may say true"),
)  # fmt: skip
LOCAL_RULES = (
    whole("metrics_port", 0, 65_535, 0, "Prometheus metrics on 127.0.0.1; 0 for none"),
    text("socket_group", None, "group that may use the agent's socket; its owner alone without"),
)
ORDERS_RULES = (
    flag("allow_cuts", False, "disconnect, and lift keep-power; restoring needs no permission"),
    whole("cuts_per_hour", 0, 1_000, 5, "cuts of this gateway within an hour, at most"),
    whole("cuts_per_day_percent", 0, 100, 10,
          "cuts within 24 h, at most, in percent of its meters; one at least"),
    whole("dwell_s", 0, 86_400, 600,
          "between a disconnect and a connect of one meter, or a restore and a disconnect (s)"),
    whole("operations_per_day", 1, 1_000, 4,
          "a meter that was switched so often within 24 h is not disconnected"),
    texts("windows", is_window, ALLOWED_WINDOWS, ("Mon-Thu 09:00-16:00",),
          "when a disconnect may be sent, in the meter's local civil time"),
    matching("timezone", is_time_zone, "a time zone that this system knows, such as Asia/Shanghai",
             "Asia/Shanghai", "of the meters"),
    flag("block_eves", True, "no disconnect on the day before a blocked day"),
    flag("block_without_calendar", True, "no disconnect where the calendar has ended"),
    flag("block_without_weather", False,
         "no disconnect where the head end does not judge the weather"),
    whole("verify_s", 1, 600, 5, "between two looks for the effect of an order (s)"),
    whole("verify_for_s", 1, 3_600, 120, "how long its effect is looked for (s)"),
    flag("allow_lower_assurance", False,
         "cut meters that can not prove the effect, where the order accepts it"),
)  # fmt: skip


def _wire_rules(defaults: dict[str, object]) -> tuple[Rule, ...]:
    """How a line talks, or a meter that differs from its line."""
    return (
        choice("baud", BAUD_RATES, defaults.get("baud"), "bit/s"),
        choice("parity", PARITIES, defaults.get("parity"), "DL/T 645 uses even parity"),
        choice("stop_bits", (1, 2), defaults.get("stop_bits"), "stop bits"),
        whole("response_timeout_ms", 50, 60_000, defaults.get("response_timeout_ms"),
              "silence after a request before it counts as no answer"),
        whole("gap_ms", 5, 5_000, defaults.get("gap_ms"), "longest silence inside an answer"),
        whole("turnaround_ms", 0, 1_000, defaults.get("turnaround_ms"),
              "silence before a request (Modbus adds its own 3.5 characters)"),
        whole("retries", 0, 10, defaults.get("retries"),
              "times that a request without a good answer is repeated"),
    )  # fmt: skip


_LINE_WIRE = _wire_rules(
    {
        "baud": 2400,
        "parity": "E",
        "stop_bits": 1,
        "response_timeout_ms": 600,
        "gap_ms": 500,
        "turnaround_ms": 1,
        "retries": 2,
    }
)
LINE_RULES = (
    matching("id", is_name, _NAME, REQUIRED, "name of the line"),
    matching("port", is_port, _PORT_TEXT, REQUIRED, "where it is plugged in"),
    *_LINE_WIRE,
)
_PERIOD_RULES = (
    whole("period_s", 1, 86_400, 900, "poll period"),
    choice("align", ALIGNS, "clock", "periods begin with the wall clock's, or with the last poll"),
)
_METER_RULES = (
    matching(
        "id", is_meter_id, "1 to 64 printable characters without spaces or /", REQUIRED,
        "our name of it",
    ),
    text("line", REQUIRED, "id of its line"),
    choice("protocol", PROTOCOLS, REQUIRED, "what it speaks"),
    *_PERIOD_RULES,
    whole("breaker_a", 1, 4_000, None,
          "rating of its breaker (A): a faster rise of an energy is flagged"),
    choice("phases", (1, 3), 3, "phases that the breaker has"),
    whole("voltage_v", 50, 500, 230, "phase voltage"),
    flag("protected", False, "never cut: no order disconnects it or lifts its keep-power"),
    *_wire_rules({}),
)  # fmt: skip
_OBIS_TEXTS = (
    "OBIS codes (1-0:1.8.0) or, for DL/T 645, identifiers of 8 hex digits (0001FF00), or 4 of"
    " edition 1997 (901F)"
)
DLT645_METER_RULES = (
    *_METER_RULES,
    matching("address", is_meter_address, "12 digits, not the broadcast", REQUIRED, "on the bus"),
    choice("edition", tuple(EDITIONS), EDITION_AUTO,
           "of DL/T 645; auto asks as in 2007, and as in 1997 when the meter is silent"),
    texts("quantities", is_quantity, _OBIS_TEXTS, (
        "1-0:1.8.0", "1-0:1.8.1", "1-0:1.8.2", "1-0:1.8.3", "1-0:1.8.4", "1-0:2.8.0",
        "1-0:32.7.0", "1-0:31.7.0", "1-0:16.7.0", "1-0:13.7.0",
    ), "what is read"),
)  # fmt: skip
_MODEL_RULES = (
    text("model", REQUIRED, "a meter model's name, such as eastron-sdm630"),
    texts(
        "quantities", is_quantity, _OBIS_TEXTS, None, "what is read; without it, the whole model"
    ),
)
MODBUS_METER_RULES = (
    *_METER_RULES,
    whole("unit", 1, 247, REQUIRED, "unit on the bus"),
    *_MODEL_RULES,
)
MODBUS_TCP_METER_RULES = (
    *_METER_RULES,
    # 0 and 255 name the device itself (Modbus Messaging on TCP/IP 1.0b, 4.4.2.1).
    whole("unit", 0, 255, REQUIRED, "unit behind the port; 255 or 1 where there is but one"),
    *_MODEL_RULES,
)
CJT188_METER_RULES = (
    *_METER_RULES,
    *cjt188.RULES,
    texts("quantities", is_quantity, "OBIS codes (8-0:1.0.0)", None,
          "what is kept; without it, all that it shows"),
)  # fmt: skip
METER_RULES_BY_PROTOCOL = {
    DLT645: DLT645_METER_RULES,
    MODBUS: MODBUS_METER_RULES,
    MODBUS_TCP: MODBUS_TCP_METER_RULES,
    CJT188: CJT188_METER_RULES,
}
GROUP_RULES = (
    matching("name", is_name, _NAME, REQUIRED, "name of the register group"),
    texts("quantities", is_quantity, _OBIS_TEXTS, REQUIRED, "what is read"),
    *_PERIOD_RULES,
)
RULES = {
    "gateway": GATEWAY_RULES,
    "mqtt": MQTT_RULES,
    "journal": JOURNAL_RULES,
    "uplink": UPLINK_RULES,
    "collect": COLLECT_RULES,
    "local": LOCAL_RULES,
    "orders": ORDERS_RULES,
    "line": LINE_RULES,
    **{f"meter ({name})": rules for name, rules in METER_RULES_BY_PROTOCOL.items()},
    "meter.group": GROUP_RULES,
}
SECTIONS = ("gateway", "mqtt", "journal", "uplink", "collect", "local", "orders", "line", "meter")
WIRE_KEYS = tuple(rule.name for rule in _LINE_WIRE)
