"""The hash chain of a gateway: what it decided and did, so that nobody changes it unseen."""
