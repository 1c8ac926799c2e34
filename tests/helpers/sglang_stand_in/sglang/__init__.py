"""Stands for SGLang in the tests of ``examples/own_engine``: put the folder above on the PYTHONPATH."""
