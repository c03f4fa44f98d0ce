"""What a point holds: chunks and records as payloads and vectors, and back."""
