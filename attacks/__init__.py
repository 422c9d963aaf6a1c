"""Attacks and maximizing images, in native PyTorch: a room that is not furnished yet.

Here will stand white-box PGD over epsilon and over steps, transfer from ``resnext50_32x4d``, the
maximizing images of penultimate units, and the checks that say whether an attack can be believed.
They are handed decoded images and a network, and never open an engine.
"""
