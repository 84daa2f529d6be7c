"""The API of the head end: who may do what over HTTP, and the way there and back."""
