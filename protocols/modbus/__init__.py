"""Modbus meters: a model is data, a sweep is a plan. PDUs and framing come from pymodbus, in
`edge/`."""
