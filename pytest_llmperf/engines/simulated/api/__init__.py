"""The APIs of the simulated engine: requests read strictly, answers in the form of each endpoint."""
