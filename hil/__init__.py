"""Hardware in the loop: what stands in for meters, lines, a broker, and the faults of all three."""
