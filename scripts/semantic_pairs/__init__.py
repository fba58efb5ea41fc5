"""The intents of `make_semantic_pairs.py`, and how they become pairs. `intents.py` says how one is written."""
