"""Sources of records: process trees, the host's memory, NVML, DCGM exporters."""
