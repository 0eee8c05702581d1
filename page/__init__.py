"""The page of explore.py: what it shows, who paints it, and the server between them."""
