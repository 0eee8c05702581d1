"""How good a generator is, in numbers. metrics.py is the door."""
