"""One test interface over several benches: simulated, pseudo-tty, virtual machine, and real wires.

See docs/bench.md for what each of them proves.
"""
