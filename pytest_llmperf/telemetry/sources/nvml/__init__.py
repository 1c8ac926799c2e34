"""NVIDIA's management library: the only folder that imports pynvml."""
