"""vLLM inside the process that runs pytest (mode=offline)."""
