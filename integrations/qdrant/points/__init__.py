"""The contents of points: chunks and records as payloads and vectors, and back."""
