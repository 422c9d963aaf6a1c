"""Attacks that ask only for logits."""
