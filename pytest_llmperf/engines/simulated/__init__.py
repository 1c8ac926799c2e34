"""The engine `simulated`: a server without a model, for tests and for trying the plugin out."""
