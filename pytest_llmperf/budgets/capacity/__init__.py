"""The highest rate at which latencies keep their limits: how it is estimated, and which rate is tried next. Pure."""
