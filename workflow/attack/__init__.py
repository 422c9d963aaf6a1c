"""Attacks: white-box and transferred, their probes, and the cross-check with an engine."""
