"""From bytes on a topic to rows in the store, and the sealed acknowledgement back."""
