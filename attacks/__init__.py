"""What needs gradients, in native PyTorch: attacks, and images that maximize penultimate units.

Its modules are handed a network, decoded images and data to judge: they open neither files nor
models, and print nothing. What imports torch or foolbox is imported by a job that runs.
"""
