"""The way down: an order is judged, made durable, carried out at most once, and answered with
evidence."""
