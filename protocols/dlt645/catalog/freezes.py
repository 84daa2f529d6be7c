"""Class 05: what the meter froze. DI2 the kind, DI1 the part, DI0 which one, 01 the latest.

A whole block (DI1 = FF) is taken apart by `records`, because meters differ in its separators.
"""

_KIND = "{w2timed/instant/zone switch/day switch/hourly/price switch/daily/step switch}"
FREEZES = """
05.00-07.00.01-FE R 1c - YYMMDDhhmm - {kind} freeze, {n0} back: time
05.04.01.01-FE R 0 c NNNNNN.NN:kWh - hourly freeze, {n0} back: forward active
05.04.02.01-FE R 0 c NNNNNN.NN:kWh - hourly freeze, {n0} back: reverse active
05.00-07.01.01-FE R 1 c NNNNNN.NN:kWh* - {kind} freeze, {n0} back: forward active
05.00-07.02.01-FE R 1 c NNNNNN.NN:kWh* - {kind} freeze, {n0} back: reverse active
05.00-07.03.01-FE R 4 c sNNNNNN.NN:kvarh* - {kind} freeze, {n0} back: combined reactive 1
05.00-07.04.01-FE R 4 c sNNNNNN.NN:kvarh* - {kind} freeze, {n0} back: combined reactive 2
05.00-07.05-08.01-FE R 4 c NNNNNN.NN:kvarh* - {kind} freeze, {n0} back: reactive, quadrant {n1-4}
05.00-07.09.01-FE R 4 x @demand* - {kind} freeze, {n0} back: forward demand
05.00-07.0A.01-FE R 4 x @demand* - {kind} freeze, {n0} back: reverse demand
05.00-07.10.01-FE R 4 i @powers - {kind} freeze, {n0} back
05.00-07.FF.01-FE R 4 c ? - {kind} freeze, {n0} back: the whole block
""".replace("{kind}", _KIND)

LOADS = """
06.00.00.00-02 R 8 i ? - load records, all classes
06.01-06.00.00-02 R 8 i ? - load records, class {n2}
"""

LAYOUTS = {
    "powers": ",".join(
        [f"active power{of}=sNN.NNNN:kW" for of in ("", " A", " B", " C")]
        + [f"reactive power{of}=sNN.NNNN:kvar" for of in ("", " A", " B", " C")]
    ),
}
