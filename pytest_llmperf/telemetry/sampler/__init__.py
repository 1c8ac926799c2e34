"""The sampler process, and its client in pytest."""
