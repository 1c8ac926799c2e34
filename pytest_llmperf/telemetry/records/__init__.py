"""What the sampler process writes and pytest reads: records in a ring, and the protocols of their sources."""
