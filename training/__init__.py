"""One iteration and the run around it. train.py is the door."""
