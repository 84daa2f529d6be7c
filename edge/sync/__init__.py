"""The gateway's side of the way up and down: identity, transport, outbox and the session over
them."""
