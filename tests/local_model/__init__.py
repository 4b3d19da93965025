"""A real small language model behind the same code. `pytest -m local_model` runs these alone."""
