"""What the machine says while a test runs: a sampler process and the timelines cut out of it."""
