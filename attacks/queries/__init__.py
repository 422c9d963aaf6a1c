"""Attacks that use only logits, no gradients."""
