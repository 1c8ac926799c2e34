"""What an engine holds in its KV cache, and how much of that is waste."""
