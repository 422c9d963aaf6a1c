"""Attacks on one model, whose images others classify."""
