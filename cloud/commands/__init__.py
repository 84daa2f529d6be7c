"""What `busbar-cloud` prints. Readers open the database read-only; writes go to the service."""
