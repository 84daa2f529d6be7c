"""The commands of `busbar-edge`, a module for each."""
