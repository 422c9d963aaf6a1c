"""Attacks and maximizing images, in native PyTorch, on foolbox's attack classes.

``pgd.py`` is the loop: ``descent.py`` makes its steps, ``gradients.py`` asks the network,
``attempts.py`` notes what becomes of an image. ``protocols.py`` says which choices make an attack,
``records.py`` what is kept of it and ``outcomes.py`` what is counted. They are handed decoded
images and a network that takes them, and never open an engine.
"""
