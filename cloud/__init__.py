"""The head end: takes sealed batches in, stores them once, acknowledges, and sends orders."""
