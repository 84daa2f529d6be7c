"""Whatever is said to a virtual meter, it answers or is silent; and nothing that carries no right
password moves its relay, its parameters or its passwords."""

from hypothesis import given
from hypothesis import strategies as st

from hil.load import Load
from hil.meter import Dlt645Meter
from hil.meter_1997 import Dlt645Meter1997
from protocols.dlt645.deframer import Deframer
from protocols.dlt645.frame import Frame
from tests.hil.masters import ADDRESS, WHO, FakeClock, make_meter, order, shown

RIGHT = bytes.fromhex(WHO)[:4]
# Those that need no password: the clock, an address, a freeze, a rate, an output.
FREE = (0x08, 0x15, 0x16, 0x17, 0x1D)
PARAMETERS = ("04000103", "04001401", "04000901", "04000402")
KNOWN = tuple(
    bytes(reversed(bytes.fromhex(di)))
    for di in (
        "00010000", "0001FF00", "01010000", "0101FF00", "02800004", "03300001", "033001FF",
        "04000101", "0400010C", "04000401", "040005FF", "04000C03", "04001203", "04001401",
        "0501FF01", "0500FF01", "05060101", "0504FF01", "06000000", "06000001", "06020002",
        "1D00FF01", "1E000301", "070000FF",
    )
)  # fmt: skip
addresses = st.sampled_from((ADDRESS, "AAAAAAAAAAAA", "999999999999", "AAAAAA789012"))
wires = st.one_of(
    st.binary(max_size=40),
    st.builds(bytes.__add__, st.sampled_from(KNOWN), st.binary(max_size=20)),
    st.builds(bytes.__add__, st.sampled_from(KNOWN), st.sampled_from((b"\x01", b"\x99"))),
)
credentialed = st.one_of(
    st.builds(lambda rest: bytes.fromhex(WHO) + rest, st.binary(max_size=30)),
    st.builds(
        lambda di, rest: di + bytes.fromhex(WHO) + rest,
        st.sampled_from(KNOWN),
        st.binary(max_size=8),
    ),
)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    ends = sorted({cut % (len(data) + 1) for cut in cuts} | {len(data)})
    return [data[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]


def is_one_reply(wire: bytes) -> bool:
    deframer = Deframer()
    return [frame.is_reply for frame in deframer.feed(wire)] == [True] and not deframer.discarded


def state(meter: Dlt645Meter) -> list[object]:
    values = [shown(meter, di) for di in (*PARAMETERS, "1D000001", "1E000001", "03300000")]
    bits = shown(meter, "04000503")[0] & 0x1058
    order(meter, 0x1C, "00" * 16)
    return [*values, bits, meter.access.lets_in(2, "123456")]


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=8))
def test_any_bytes_in_any_pieces_give_replies_or_silence(data: bytes, cuts: list[int]) -> None:
    for meter in (make_meter(), Dlt645Meter1997(ADDRESS, Load(1), FakeClock())):
        for piece in pieces(data, cuts):
            assert all(is_one_reply(reply) for _, reply in meter.feed(piece))


@given(
    st.lists(st.tuples(addresses, st.integers(0, 255), st.one_of(wires, credentialed)), max_size=6),
    st.integers(0, 10 * 86_400_000),
)
def test_any_frames_give_replies_or_silence(
    frames: list[tuple[str, int, bytes]], later_ms: int
) -> None:
    """Right passwords included: whatever they lead to, every answer is one frame."""
    clock = FakeClock()
    meters = (make_meter(clock), Dlt645Meter1997(ADDRESS, Load(1), clock, answers_broadcast=True))
    for address, control, data in frames:
        wire = Frame(address, control, data).to_bytes()
        for meter in meters:
            replies = meter.feed(wire)
            assert len(replies) <= 1
            assert all(is_one_reply(reply) for _, reply in replies)
            assert not replies or address != "999999999999" or meter is meters[1]
        clock.now_ms += later_ms


@given(
    st.lists(
        st.tuples(
            addresses,
            st.integers(0, 255).filter(lambda control: control not in FREE),
            wires.filter(lambda data: RIGHT not in data),
        ),
        max_size=5,
    )
)
def test_nothing_without_the_password_changes_anything(
    frames: list[tuple[str, int, bytes]],
) -> None:
    meter = make_meter(failures_max=1000)
    before = state(meter)
    for address, control, data in frames:
        meter.feed(Frame(address, control, data).to_bytes())
    assert state(meter) == before
    assert meter.name == ADDRESS


@given(st.lists(st.tuples(addresses, st.sampled_from(FREE), wires), max_size=5))
def test_what_needs_no_password_moves_neither_relay_nor_parameters(
    frames: list[tuple[str, int, bytes]],
) -> None:
    meter = make_meter()
    before = state(meter)
    for address, control, data in frames:
        meter.feed(Frame(address, control, data).to_bytes())
    assert state(meter)[4:] == before[4:]
    assert [shown(meter, di) for di in PARAMETERS[:3]] == before[:3]
