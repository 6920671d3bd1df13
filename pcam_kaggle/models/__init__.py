"""The networks: float pixels in, one probability out."""
