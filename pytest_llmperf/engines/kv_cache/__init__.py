"""KV cache in use, and how much of it is wasted."""
