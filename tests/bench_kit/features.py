"""The words by which a test says what it needs of a bench: the whole list."""

FEATURES = {
    "virtual-time": "a wait costs nothing, and every time is exact",
    "paced": "bytes take the time that they take on a wire",
    "virtual-meter": "the meters are ours: they do what the test tells them, and show what it says",
    "faults": "answers can be damaged, lost and delayed",
    "collisions": "two meters that talk at once destroy each other's bytes",
    "echo": "the adapter can return what we send",
    "parity": "the port really takes its parity setting; a pty drops it",
    "adapter-unplug": "the adapter can be taken out and put in again",
    "sacrificial-meter": "a meter that may be set, switched and cleared",
}
