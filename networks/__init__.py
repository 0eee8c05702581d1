"""The networks: what they are made of, and StyleGAN1's own. model.py is the door."""
