"""What public drivers read from the meters that we ship models of: facts only, as sent on the wire.

Rows are `name address type scale unit`, `->` renames to ours, `out` names those that we leave out.
From volkszaehler/mbmd at fb8f9c22, OpenEMS at 0e4ea888, Tasmota, wb-mqtt-serial at 7f7a2d43, an
Arduino library and profile tests for Acrel, a register library for ABB, the maker's manual for
Schneider (DOCA0005EN-04). `sources` says how many of them agree on the main block. None was checked
on a real meter.
"""

from typing import NamedTuple


class Facts(NamedTuple):
    """One family; `out` maps what the model leaves out to the reason."""

    function: int
    word_order: str
    sources: int
    rows: str
    out: dict[str, str]


_SUM = "the rule of the sum is not in the sources"
_NO_CODE = "no OBIS code of ours"
_UNCONFIRMED = "not confirmed by a second source"

FACTS = {
    "abb-b23": Facts(
        3,
        "big",
        2,
        """
energy_import->active_energy_import 20480 uint64 0.01 kWh
energy_export->active_energy_export 20484 uint64 0.01 kWh
energy_import_l1->active_energy_import_l1 21600 uint64 0.01 kWh
energy_import_l2->active_energy_import_l2 21604 uint64 0.01 kWh
energy_import_l3->active_energy_import_l3 21608 uint64 0.01 kWh
energy_export_l1->active_energy_export_l1 21612 uint64 0.01 kWh
energy_export_l2->active_energy_export_l2 21616 uint64 0.01 kWh
energy_export_l3->active_energy_export_l3 21620 uint64 0.01 kWh | voltage_l1 23296 uint32 0.1 V
voltage_l2 23298 uint32 0.1 V | voltage_l3 23300 uint32 0.1 V | voltage_l1l2 23302 uint32 0.1 V
voltage_l3l2 23304 uint32 0.1 V | voltage_l1l3 23306 uint32 0.1 V | current_l1 23308 uint32 0.01 A
current_l2 23310 uint32 0.01 A | current_l3 23312 uint32 0.01 A
current_n->current_neutral 23314 uint32 0.01 A | active_power 23316 int32 0.01 W
active_power_l1 23318 int32 0.01 W | active_power_l2 23320 int32 0.01 W
active_power_l3 23322 int32 0.01 W | reactive_power 23324 int32 0.01 var
reactive_power_l1 23326 int32 0.01 var | reactive_power_l2 23328 int32 0.01 var
reactive_power_l3 23330 int32 0.01 var | apparent_power 23332 int32 0.01 VA
apparent_power_l1 23334 int32 0.01 VA | apparent_power_l2 23336 int32 0.01 VA
apparent_power_l3 23338 int32 0.01 VA | frequency 23340 uint16 0.01 Hz
power_factor 23354 int16 0.001 1 | power_factor_l1 23355 int16 0.001 1
power_factor_l2 23356 int16 0.001 1 | power_factor_l3 23357 int16 0.001 1
""",
        dict.fromkeys(("voltage_l1l2", "voltage_l3l2", "voltage_l1l3"), _NO_CODE),
    ),
    "acrel-adl400": Facts(
        3,
        "big",
        3,
        """
energy_total 0 uint32 0.01 kWh | energy_import->active_energy_import 10 uint32 0.01 kWh
energy_export->active_energy_export 20 uint32 0.01 kWh | reactive_total 30 uint32 0.01 kvarh
reactive_import->reactive_energy_import 40 uint32 0.01 kvarh
reactive_export->reactive_energy_export 50 uint32 0.01 kvarh | voltage_l1 97 uint16 0.1 V
voltage_l2 98 uint16 0.1 V | voltage_l3 99 uint16 0.1 V | current_l1 100 uint16 0.01 A
current_l2 101 uint16 0.01 A | current_l3 102 uint16 0.01 A | frequency 119 uint16 0.01 Hz
pt_ratio 141 uint16 1 1 | ct_ratio 142 uint16 1 1 | active_power_l1 356 int32 0.001 kW
active_power_l2 358 int32 0.001 kW | active_power_l3 360 int32 0.001 kW
active_power 362 int32 0.001 kW | reactive_power_l1 364 int32 0.001 kvar
reactive_power_l2 366 int32 0.001 kvar | reactive_power_l3 368 int32 0.001 kvar
reactive_power 370 int32 0.001 kvar | apparent_power_l1 372 uint32 0.001 kVA
apparent_power_l2 374 uint32 0.001 kVA | apparent_power_l3 376 uint32 0.001 kVA
apparent_power 378 uint32 0.001 kVA | power_factor_l1 380 int16 0.001 1
power_factor_l2 381 int16 0.001 1 | power_factor_l3 382 int16 0.001 1
power_factor 383 int16 0.001 1
""",
        dict.fromkeys(("energy_total",), _SUM) | dict.fromkeys(("reactive_total",), _NO_CODE),
    ),
    "chint-ddsu666": Facts(
        4,
        "big",
        1,
        """
voltage->voltage_l1 8192 float32 1 V | current->current_l1 8194 float32 1 A
active_power 8196 float32 1 kW | reactive_power 8198 float32 1 kvar | power_factor 8202 float32 1 1
frequency 8206 float32 1 Hz | energy_import->active_energy_import 16384 float32 1 kWh
energy_export->active_energy_export 16394 float32 1 kWh
""",
        {},
    ),
    "chint-dtsu666": Facts(
        3,
        "big",
        2,
        """
ct_ratio_IrAt->ct_ratio 6 uint16 1 1 | pt_ratio_UrAt->pt_ratio 7 uint16 0.1 1
voltage_l1l2 8192 float32 0.1 V | voltage_l2l3 8194 float32 0.1 V | voltage_l3l1 8196 float32 0.1 V
voltage_l1 8198 float32 0.1 V | voltage_l2 8200 float32 0.1 V | voltage_l3 8202 float32 0.1 V
current_l1 8204 float32 0.001 A | current_l2 8206 float32 0.001 A | current_l3 8208 float32 0.001 A
active_power 8210 float32 0.1 W | active_power_l1 8212 float32 0.1 W
active_power_l2 8214 float32 0.1 W | active_power_l3 8216 float32 0.1 W
reactive_power 8218 float32 0.1 var | reactive_power_l1 8220 float32 0.1 var
reactive_power_l2 8222 float32 0.1 var | reactive_power_l3 8224 float32 0.1 var
power_factor 8234 float32 0.001 1 | power_factor_l1 8236 float32 0.001 1
power_factor_l2 8238 float32 0.001 1 | power_factor_l3 8240 float32 0.001 1
frequency 8260 float32 0.01 Hz | energy_import->active_energy_import 4126 float32 1 kWh
energy_import_l1->active_energy_import_l1 4128 float32 1 kWh
energy_import_l2->active_energy_import_l2 4130 float32 1 kWh
energy_import_l3->active_energy_import_l3 4132 float32 1 kWh
energy_export->active_energy_export 4136 float32 1 kWh
energy_export_l1->active_energy_export_l1 4138 float32 1 kWh
energy_export_l2->active_energy_export_l2 4140 float32 1 kWh
energy_export_l3->active_energy_export_l3 4142 float32 1 kWh
""",
        dict.fromkeys(("voltage_l1l2", "voltage_l2l3", "voltage_l3l1"), _NO_CODE),
    ),
    "eastron-sdm120": Facts(
        4,
        "big",
        3,
        """
voltage->voltage_l1 0 float32 1 V | current->current_l1 6 float32 1 A | active_power 12 float32 1 W
apparent_power 18 float32 1 VA | reactive_power 24 float32 1 var | power_factor 30 float32 1 1
frequency 70 float32 1 Hz | energy_import->active_energy_import 72 float32 1 kWh
energy_export->active_energy_export 74 float32 1 kWh
reactive_import->reactive_energy_import 76 float32 1 kvarh
reactive_export->reactive_energy_export 78 float32 1 kvarh | energy_total 342 float32 1 kWh
reactive_total 344 float32 1 kvarh
""",
        dict.fromkeys(("energy_total",), _SUM) | dict.fromkeys(("reactive_total",), _NO_CODE),
    ),
    "eastron-sdm630": Facts(
        4,
        "big",
        2,
        """
voltage_l1 0 float32 1 V | voltage_l2 2 float32 1 V | voltage_l3 4 float32 1 V
current_l1 6 float32 1 A | current_l2 8 float32 1 A | current_l3 10 float32 1 A
active_power_l1 12 float32 1 W | active_power_l2 14 float32 1 W | active_power_l3 16 float32 1 W
apparent_power_l1 18 float32 1 VA | apparent_power_l2 20 float32 1 VA
apparent_power_l3 22 float32 1 VA | reactive_power_l1 24 float32 1 var
reactive_power_l2 26 float32 1 var | reactive_power_l3 28 float32 1 var
power_factor_l1 30 float32 1 1 | power_factor_l2 32 float32 1 1 | power_factor_l3 34 float32 1 1
current_total 48 float32 1 A | active_power 52 float32 1 W | apparent_power 56 float32 1 VA
reactive_power 60 float32 1 var | power_factor 62 float32 1 1 | phase_angle 66 float32 1 deg
frequency 70 float32 1 Hz | energy_import->active_energy_import 72 float32 1 kWh
energy_export->active_energy_export 74 float32 1 kWh
reactive_import->reactive_energy_import 76 float32 1 kvarh
reactive_export->reactive_energy_export 78 float32 1 kvarh
energy_total->active_energy_both 342 float32 1 kWh
energy_import_l1->active_energy_import_l1 346 float32 1 kWh
energy_import_l2->active_energy_import_l2 348 float32 1 kWh
energy_import_l3->active_energy_import_l3 350 float32 1 kWh
energy_export_l1->active_energy_export_l1 352 float32 1 kWh
energy_export_l2->active_energy_export_l2 354 float32 1 kWh
energy_export_l3->active_energy_export_l3 356 float32 1 kWh
""",
        dict.fromkeys(("phase_angle",), _NO_CODE),
    ),
    "gavazzi-em24-din": Facts(
        4,
        "little",
        1,
        """
voltage_l1 0 int32 0.1 V | voltage_l2 2 int32 0.1 V | voltage_l3 4 int32 0.1 V
current_l1 12 int32 0.001 A | current_l2 14 int32 0.001 A | current_l3 16 int32 0.001 A
active_power_l1 18 int32 0.1 W | active_power_l2 20 int32 0.1 W | active_power_l3 22 int32 0.1 W
active_power 40 int32 0.1 W | power_factor_l1 50 int16 0.001 1 | power_factor_l2 51 int16 0.001 1
power_factor_l3 52 int16 0.001 1 | power_factor 53 int16 0.001 1 | frequency 55 uint16 0.1 Hz
energy_import->active_energy_import 66 int32 0.1 kWh
energy_import_l1->active_energy_import_l1 70 int32 0.1 kWh
energy_import_l2->active_energy_import_l2 72 int32 0.1 kWh
energy_import_l3->active_energy_import_l3 74 int32 0.1 kWh
energy_export->active_energy_export 92 int32 0.1 kWh
""",
        {},
    ),
    "gavazzi-em340": Facts(
        4,
        "little",
        2,
        """
voltage_l1 0 int32 0.1 V | voltage_l2 2 int32 0.1 V | voltage_l3 4 int32 0.1 V
voltage_l1l2 6 int32 0.1 V | voltage_l2l3 8 int32 0.1 V | voltage_l3l1 10 int32 0.1 V
current_l1 12 int32 0.001 A | current_l2 14 int32 0.001 A | current_l3 16 int32 0.001 A
active_power_l1 18 int32 0.1 W | active_power_l2 20 int32 0.1 W | active_power_l3 22 int32 0.1 W
apparent_power_l1 24 int32 0.1 VA | apparent_power_l2 26 int32 0.1 VA
apparent_power_l3 28 int32 0.1 VA | reactive_power_l1 30 int32 0.1 var
reactive_power_l2 32 int32 0.1 var | reactive_power_l3 34 int32 0.1 var
active_power 40 int32 0.1 W | apparent_power 42 int32 0.1 VA | reactive_power 44 int32 0.1 var
power_factor_l1 46 int16 0.001 1 | power_factor_l2 47 int16 0.001 1
power_factor_l3 48 int16 0.001 1 | power_factor 49 int16 0.001 1 | frequency 51 uint16 0.1 Hz
energy_import->active_energy_import 52 int32 0.1 kWh
energy_import_l1->active_energy_import_l1 64 int32 0.1 kWh
energy_import_l2->active_energy_import_l2 66 int32 0.1 kWh
energy_import_l3->active_energy_import_l3 68 int32 0.1 kWh
energy_export->active_energy_export 78 int32 0.1 kWh
""",
        dict.fromkeys(("voltage_l1l2", "voltage_l2l3", "voltage_l3l1"), _UNCONFIRMED),
    ),
    "janitza-umg96rm": Facts(
        3,
        "big",
        2,
        """
voltage_l1 19000 float32 1 V | voltage_l2 19002 float32 1 V | voltage_l3 19004 float32 1 V
voltage_l1l2 19006 float32 1 V | voltage_l2l3 19008 float32 1 V | voltage_l3l1 19010 float32 1 V
current_l1 19012 float32 1 A | current_l2 19014 float32 1 A | current_l3 19016 float32 1 A
current_n->current_neutral 19018 float32 1 A | active_power_l1 19020 float32 1 W
active_power_l2 19022 float32 1 W | active_power_l3 19024 float32 1 W
active_power 19026 float32 1 W | apparent_power_l1 19028 float32 1 VA
apparent_power_l2 19030 float32 1 VA | apparent_power_l3 19032 float32 1 VA
apparent_power 19034 float32 1 VA | reactive_power_l1 19036 float32 1 var
reactive_power_l2 19038 float32 1 var | reactive_power_l3 19040 float32 1 var
reactive_power 19042 float32 1 var | power_factor_l1 19044 float32 1 1
power_factor_l2 19046 float32 1 1 | power_factor_l3 19048 float32 1 1 | frequency 19050 float32 1 Hz
energy_import_l1->active_energy_import_l1 19062 float32 1 Wh
energy_import_l2->active_energy_import_l2 19064 float32 1 Wh
energy_import_l3->active_energy_import_l3 19066 float32 1 Wh
energy_import->active_energy_import 19068 float32 1 Wh
energy_export_l1->active_energy_export_l1 19070 float32 1 Wh
energy_export_l2->active_energy_export_l2 19072 float32 1 Wh
energy_export_l3->active_energy_export_l3 19074 float32 1 Wh
energy_export->active_energy_export 19076 float32 1 Wh
""",
        dict.fromkeys(
            (
                "voltage_l1l2",
                "voltage_l2l3",
                "voltage_l3l1",
                "apparent_power_l1",
                "apparent_power_l2",
                "apparent_power_l3",
                "apparent_power",
                "power_factor_l1",
                "power_factor_l2",
                "power_factor_l3",
            ),
            _UNCONFIRMED,
        ),
    ),
    "schneider-iem3x55": Facts(
        3,
        "big",
        2,
        """
current_l1 2999 float32 1 A | current_l2 3001 float32 1 A | current_l3 3003 float32 1 A
voltage_l1 3027 float32 1 V | voltage_l2 3029 float32 1 V | voltage_l3 3031 float32 1 V
current_avg 3009 float32 1 A | voltage_ln_avg 3035 float32 1 V | active_power_l1 3053 float32 1 kW
active_power_l2 3055 float32 1 kW | active_power_l3 3057 float32 1 kW
active_power 3059 float32 1 kW | reactive_power 3067 float32 1 kvar
apparent_power 3075 float32 1 kVA | frequency 3109 float32 1 Hz
energy_import->active_energy_import 3203 int64 1 Wh
energy_export->active_energy_export 3207 int64 1 Wh
reactive_import->reactive_energy_import 3219 int64 1 varh
reactive_export->reactive_energy_export 3223 int64 1 varh
energy_import_l1->active_energy_import_l1 3517 int64 1 Wh
energy_import_l2->active_energy_import_l2 3521 int64 1 Wh
energy_import_l3->active_energy_import_l3 3525 int64 1 Wh | energy_import_f32 45099 float32 1 Wh
energy_export_f32 45101 float32 1 Wh
""",
        dict.fromkeys(("current_avg", "voltage_ln_avg"), _NO_CODE)
        | dict.fromkeys(("energy_import_f32", "energy_export_f32"), _UNCONFIRMED),
    ),
    "siemens-pac1600": Facts(
        3,
        "big",
        1,
        """
voltage_l1 1 uint32 0.01 V | voltage_l2 3 uint32 0.01 V | voltage_l3 5 uint32 0.01 V
current_l1 7 uint32 0.0001 A | current_l2 9 uint32 0.0001 A | current_l3 11 uint32 0.0001 A
voltage_l1l2 13 uint32 0.01 V | voltage_l2l3 15 uint32 0.01 V | voltage_l3l1 17 uint32 0.01 V
active_power_l1 19 int32 0.01 W | active_power_l2 21 int32 0.01 W | active_power_l3 23 int32 0.01 W
reactive_power_l1 25 int32 0.01 var | reactive_power_l2 27 int32 0.01 var
reactive_power_l3 29 int32 0.01 var | frequency 49 int32 0.01 Hz | active_power 57 int32 0.01 W
reactive_power 59 int32 0.01 var | energy_import->active_energy_import 6687 uint32 1 Wh
energy_export->active_energy_export 6689 uint32 1 Wh
""",
        dict.fromkeys(("voltage_l1l2", "voltage_l2l3", "voltage_l3l1"), _NO_CODE),
    ),
    "siemens-pac2200": Facts(
        3,
        "big",
        2,
        """
voltage_l1 1 float32 1 V | voltage_l2 3 float32 1 V | voltage_l3 5 float32 1 V
current_l1 13 float32 1 A | current_l2 15 float32 1 A | current_l3 17 float32 1 A
active_power_l1 25 float32 1 W | active_power_l2 27 float32 1 W | active_power_l3 29 float32 1 W
reactive_power_l1 31 float32 1 var | reactive_power_l2 33 float32 1 var
reactive_power_l3 35 float32 1 var | power_factor_l1 37 float32 1 1 | power_factor_l2 39 float32 1 1
power_factor_l3 41 float32 1 1 | current_avg 61 float32 1 A | apparent_power 63 float32 1 VA
active_power 65 float32 1 W | reactive_power 67 float32 1 var | power_factor 69 float32 1 1
energy_import_tariff1->active_energy_import_rate1 801 float64 1 Wh
energy_export_tariff1->active_energy_export_rate1 809 float64 1 Wh
""",
        dict.fromkeys(("current_avg",), _NO_CODE),
    ),
}
