"""What needs gradients, in native PyTorch: attacks, and images that maximize penultimate units.

Its modules are handed a network and decoded images, and never open an engine or a data set.
"""
