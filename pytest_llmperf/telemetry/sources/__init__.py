"""Where samples come from: the host, its processes, DCGM exporters."""
