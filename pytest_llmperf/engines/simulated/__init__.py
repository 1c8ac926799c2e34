"""The engine `simulated`: a server without a model, for tests and for trying the plugin out."""

from pytest_llmperf.engines.simulated.engine import SimulatedEngine

__all__ = ["SimulatedEngine"]
