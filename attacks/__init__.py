"""Attacks, and images that maximize penultimate units, in native PyTorch.

Modules here are given a network and decoded images; they open no models and print nothing. Modules
that import torch or foolbox are imported only by a job that runs.
"""
