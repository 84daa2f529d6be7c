"""Seeded worlds: the product on a virtual clock, with faults drawn from one seed."""
