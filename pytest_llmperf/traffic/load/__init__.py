"""When a load asks, and the process that sends it."""
