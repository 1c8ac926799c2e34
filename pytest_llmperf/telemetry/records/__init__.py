"""The vocabulary of telemetry: what a sample is, and the ring in shared memory that carries it."""
