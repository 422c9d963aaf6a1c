"""Scoring: where images come from, how they are decoded, what is recorded, and what it adds up to.

An engine is handed in; nothing here opens one.
"""
