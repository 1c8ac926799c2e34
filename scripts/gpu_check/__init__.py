"""What can only be found out on a machine with a GPU: run ``scripts/gpu-check`` there."""
