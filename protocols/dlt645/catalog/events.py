"""Class 03, events of the 2007 text, and classes 10 to 1F, events of its later amendment.

No captured reply of a long record is public: the layouts are those that meter firmware builds and
concentrators take apart, agreeing in every size. Energies inside class 03 phase records are what
they grew by during the event, those of the amendment are register values at its start and end.
`4E` and `6E` in the layouts' comments: forward and reverse active, then combined reactive 1 and 2,
or quadrants 1 to 4.
"""

EVENTS = """
03.01.00.00 R 3 c @three_counts - loss of voltage
03.02.00.00 R 3 c @three_counts - under-voltage
03.03.00.00 R 3 c @three_counts - over-voltage
03.04.00.00 R 3 c @three_counts - phase break
03.0B.00.00 R 2 c @three_counts - loss of current
03.0C.00.00 R 3 c @three_counts - over-current
03.0D.00.00 R 1 c @three_counts - current break
03.0E.00.00 R 1 c @three_counts - reverse flow
03.0F.00.00 R 2 c @three_counts - overload
03.01.01-03.01-0A R 4 i @voltage_event - loss of voltage{p1}, record {n0}
03.02.01-03.01-0A R 4 i @voltage_event - under-voltage{p1}, record {n0}
03.03.01-03.01-0A R 4 i @voltage_event - over-voltage{p1}, record {n0}
03.04.01-03.01-0A R 4 i @voltage_event - phase break{p1}, record {n0}
03.0B.01-03.01-0A R 3 i @current_event - loss of current{p1}, record {n0}
03.0C.01-03.01-0A R 3 i @current_event - over-current{p1}, record {n0}
03.0D.01-03.01-0A R 3 i @current_event - current break{p1}, record {n0}
03.0E.01-03.01-0A R 2 i @growth_event - reverse flow{p1}, record {n0}
03.0F.01-03.01-0A R 2 i @growth_event - overload{p1}, record {n0}
03.05.00.00 R 2 c @count - loss of all voltages
03.06.00.00 R 2 c @count - loss of the auxiliary supply
03.07.00.00 R 1 c @count - voltage reverse sequence
03.08.00.00 R 1 c @count - current reverse sequence
03.09.00.00 R 2 c @count - voltage unbalance
03.0A.00.00 R 2 c @count - current unbalance
03.05.00.01-0A R 3 i @all_voltages_event - loss of all voltages, record {n0}
03.06.00.01-0A R 3 i @span - loss of the auxiliary supply, record {n0}
03.07-08.00.01-0A R 2 i @growth_event - reverse sequence, record {n0}
03.09-0A.00.01-0A R 2 i @unbalance_event - unbalance, record {n0}
03.10.00-03.00-0C R 3 i @qualification - voltage qualification{p1}, month {n0} back
03.11.00.00 R 3 c NNNNNN 0-0:96.7.21 power-down count
03.11.00.01-0A R 3 - @span - power-down, record {n0}
03.12.00.00 R 2 c (NNNNNN)x6 - demand over limit counts
03.12.01-06.01-0A R 3 i @demand_event - demand over limit, record {n0}
03.30.00.00 R 2c c NNNNNN - programming count
03.30.01.00 R 5 c NNNNNN - meter clear count
03.30.02.00 R 3 c NNNNNN - demand clear count
03.30.03.00 R 3 c NNNNNN - event clear count
03.30.04.00 R 2 c NNNNNN - clock setting count
03.30.05.00 R 2 c NNNNNN - day table programming count
03.30.06.00 R 2 c NNNNNN - zone table programming count
03.30.07.00 R 2 c NNNNNN - weekend programming count
03.30.08.00 R 2 c NNNNNN - holiday programming count
03.30.09-0B.00 R 0 c NNNNNN - combination word programming count
03.30.0C.00 R 2 c NNNNNN - settlement day programming count
03.30.0D.00 R 2c c NNNNNN 0-0:96.20.0 meter cover opened count
03.30.0E.00 R 2 c NNNNNN - terminal cover opened count
03.30.00.01-0A R 4 - @programming - programming, record {n0}
03.30.01.01-0A R 5 c @meter_clear - meter clear, record {n0}
03.30.02.01-0A R 3 x @demand_clear - demand clear, record {n0}
03.30.03.01-0A R 4 - @event_clear - event clear, record {n0}
03.30.04.01-0A R 4 - @clock_setting - clock setting, record {n0}
03.30.05.01-0A R 2 - ? - day table programming, record {n0}
03.30.06.01-0A R 3 - @zone_tables - zone table programming, record {n0}
03.30.07.01-0A R 3 - @word_before - weekend programming, record {n0}
03.30.08.01-0A R 3 - ? - holiday programming, record {n0}
03.30.09-0B.01-0A R 3 - @word_before - combination word programming, record {n0}
03.30.0C.01-0A R 3 - @settlement_days - settlement day programming, record {n0}
03.30.0D.01-0A R 4 c @cover - meter cover opened, record {n0}
03.30.0E.01-0A R 4 c @cover - terminal cover opened, record {n0}
03.32.01.01-0A R 3 - YYMMDDhhmm - energy purchase, record {n0}: date
03.32.02.01-0A R 2 c NNNN - energy purchase, record {n0}: count after it
03.32.03.01-0A R 2 i NNNNNN.NN:kWh - energy purchase, record {n0}: bought
03.32.04.01-0A R 2 i NNNNNN.NN:kWh - energy purchase, record {n0}: remaining before
03.32.05.01-0A R 2 i NNNNNN.NN:kWh - energy purchase, record {n0}: remaining after
03.32.06.01-0A R 2 c NNNNNN.NN:kWh - energy purchase, record {n0}: bought since ever
03.33.01.01-0A R 4 - YYMMDDhhmm - money purchase, record {n0}: date
03.33.02.01-0A R 3 c NNNN - money purchase, record {n0}: count after it
03.33.03.01-0A R 3 i NNNNNN.NN:CNY - money purchase, record {n0}: bought
03.33.04.01-0A R 3 i NNNNNN.NN:CNY - money purchase, record {n0}: remaining before
03.33.05.01-0A R 3 i NNNNNN.NN:CNY - money purchase, record {n0}: remaining after
03.33.06.01-0A R 3 c NNNNNN.NN:CNY - money purchase, record {n0}: bought since ever
03.32.FF.01-0A R 2 i @energy_purchase - energy purchase, record {n0}
03.33.FF.01-0A R 2 i @money_purchase - money purchase, record {n0}
"""

# Later amendment: DI2 phase (00 without), DI1 item, FF the whole record, DI0 which record.
AMENDED = """
10-13.01-03.FF.01-0A R 3 i @amended_voltage - voltage event {n3}{p2}, record {n0}
14-15.00.FF.01-0A R 2 i @amended_span - reverse sequence, record {n0}
16-17.00.FF.01-0A R 2 i @amended_unbalance - unbalance, record {n0}
18-1A.01-03.FF.01-0A R 3 i @amended_current - current event {n3}{p2}, record {n0}
1B-1C.01-03.FF.01-0A R 2 i @amended_span - reverse flow or overload{p2}, record {n0}
1D.00.00.01 R 1c c NNNNNN - relay opened: count
1E.00.00.01 R 1 c NNNNNN - relay closed: count
1D.00.01.01-0A R 2 - YYMMDDhhmmss - relay opened, record {n0}: time
1E.00.01.01-0A R 2 - YYMMDDhhmmss - relay closed, record {n0}: time
1D.00.02.01-0A R 4 - DIGITS4 - relay opened, record {n0}: operator
1E.00.02.01-0A R 4 - DIGITS4 - relay closed, record {n0}: operator
1D-1E.00.03.01-0A R 4 c NNNNNN.NN:kWh - relay moved, record {n0}: forward active
1D-1E.00.04.01-0A R 4 c NNNNNN.NN:kWh - relay moved, record {n0}: reverse active
1D-1E.00.05-08.01-0A R 4 c NNNNNN.NN:kvarh - relay moved, record {n0}: reactive, quadrant {n1-4}
1D-1E.00.FF.01-0A R 4 c @relay - relay moved, record {n0}
1F.00.FF.01-0A R 2 c @power_factor - power factor under limit, record {n0}
"""

_START = "start=YYMMDDhhmmss"
_END = "end=YYMMDDhhmmss"
_TIME = "time=YYMMDDhhmmss"
_OPERATOR = "operator=DIGITS4"


def _combined(of: str) -> str:
    """4E: 16 bytes."""
    return (
        f"forward active{of}=NNNNNN.NN:kWh,reverse active{of}=NNNNNN.NN:kWh,"
        f"combined reactive 1{of}=sNNNNNN.NN:kvarh,combined reactive 2{of}=sNNNNNN.NN:kvarh"
    )


def _quadrants(of: str) -> str:
    """6E: 24 bytes."""
    reactive = [f"reactive Q{number}{of}=NNNNNN.NN:kvarh" for number in (1, 2, 3, 4)]
    energies = [f"forward active{of}=NNNNNN.NN:kWh", f"reverse active{of}=NNNNNN.NN:kWh"]
    return ",".join(energies + reactive)


def _phase(of: str) -> str:
    """4E, voltage, current, active and reactive power, power factor: 29 bytes."""
    return (
        f"{_combined(of)},voltage{of}=NNN.N:V,current{of}=sNNN.NNN:A,active power{of}=sNN.NNNN:kW,"
        f"reactive power{of}=sNN.NNNN:kvar,power factor{of}=sN.NNN"
    )


_PHASES = (" A", " B", " C")
_ALL = ("", " A", " B", " C")
_EACH_PHASE = ",".join([_phase(of) for of in _PHASES])
_AMPERE_HOURS = ",".join([f"ampere hours{of}=NNNNNN.NN:Ah" for of in _ALL])


def _each(of: str) -> str:
    """4E of total, A, B and C: 64 bytes."""
    return ",".join([_combined(phase + of) for phase in _ALL])


LAYOUTS = {
    "count": "count=NNNNNN,minutes=NNNNNN:min",
    "three_counts": ",".join([f"count{of}=NNNNNN,minutes{of}=NNNNNN:min" for of in _PHASES]),
    "span": f"{_START},{_END}",
    "all_voltages_event": f"{_START},current=sNNN.NNN:A,{_END}",
    "voltage_event": f"{_START},{_END},{_combined(' grown')},{_EACH_PHASE},{_AMPERE_HOURS}",
    "current_event": f"{_START},{_END},{_combined(' grown')},{_EACH_PHASE}",
    "growth_event": f"{_START},{_END},{_each(' grown')}",
    "unbalance_event": f"{_START},{_END},largest unbalance=NN.NN:%,{_each(' grown')}",
    "demand_event": f"{_START},{_END},demand=NN.NNNN:kW,time of demand=YYMMDDhhmm",
    "qualification": "monitored=NNNNNN:min,qualified=NNNN.NN:%,over limits=NNNN.NN:%,"
    "over upper=NNNNNN:min,over lower=NNNNNN:min,highest=NNN.N:V,time of highest=MMDDhhmm,"
    "lowest=NNN.N:V,time of lowest=MMDDhhmm",
    "programming": f"{_TIME},{_OPERATOR},(identifier=DI)x10",
    "meter_clear": f"{_TIME},{_OPERATOR}," + ",".join([_quadrants(of) for of in _ALL]),
    "demand_clear": f"{_TIME},{_OPERATOR},(demand=NN.NNNN:kW,time of demand=YYMMDDhhmm)x24",
    "event_clear": f"{_TIME},{_OPERATOR},identifier=DI",
    "clock_setting": f"{_OPERATOR},before=YYMMDDhhmmss,after=YYMMDDhhmmss",
    "zone_tables": f"{_TIME},{_OPERATOR},(zone before=MMDDNN)x28",
    "word_before": f"{_TIME},{_OPERATOR},before=BITS1",
    "settlement_days": f"{_TIME},{_OPERATOR},(day before=DDhh)x3",
    "cover": f"{_START},{_END},{_quadrants(' before')},{_quadrants(' after')}",
    "energy_purchase": "date=YYMMDDhhmm,count=NNNN,bought=NNNNNN.NN:kWh,before=NNNNNN.NN:kWh,"
    "after=NNNNNN.NN:kWh,bought since ever=NNNNNN.NN:kWh",
    "money_purchase": "date=YYMMDDhhmm,count=NNNN,bought=NNNNNN.NN:CNY,before=NNNNNN.NN:CNY,"
    "after=NNNNNN.NN:CNY,bought since ever=NNNNNN.NN:CNY",
    "amended_voltage": f"{_START},{_combined(' at start')},{_EACH_PHASE},{_AMPERE_HOURS},{_END},"
    + _each(" at end"),
    "amended_current": f"{_START},{_combined(' at start')},{_EACH_PHASE},{_END},{_each(' at end')}",
    "amended_span": f"{_START},{_each(' at start')},{_END},{_each(' at end')}",
    "amended_unbalance": f"{_START},{_each(' at start')},largest unbalance=NN.NNNN:%,{_END},"
    + _each(" at end"),
    "relay": f"{_TIME},{_OPERATOR},{_quadrants('')}",
    "power_factor": f"{_START},{_combined(' at start')},{_END},{_combined(' at end')}",
}
