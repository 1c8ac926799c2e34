"""How a server engine is started, found again, shared between processes, and ended for certain."""
