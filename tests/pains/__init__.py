"""What users of other gateways complain of most, pain by pain: a test each that ours does better.

A file each for the pains that users rank from the first to the fifteenth; the threads in which they
describe them stand in the tests. The parts are the product's own, on fake time; what is played is
the meters, the adapter, the broker and the head end.
"""
