"""How a run ends that is asked to end early."""
