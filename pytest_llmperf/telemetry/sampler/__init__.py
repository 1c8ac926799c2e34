"""The sampler: a process that reads memory, sensors and exporters into rings, and the client that controls it."""
