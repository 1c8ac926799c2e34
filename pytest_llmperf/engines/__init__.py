"""The engines. To write one, subclass ``Engine`` (``api/``) and compose it of a deployment (``lifecycle/``), a dialect
(``traffic/client/dialect.py``) and an insight; ``registry.py`` makes it known.
"""
