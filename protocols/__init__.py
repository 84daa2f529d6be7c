"""Meter protocols, quantities, the sealed envelope and the messages: pure code, no I/O, no clock,
no log.

Everything here but `envelope/suites.py` also runs on MicroPython.
"""
