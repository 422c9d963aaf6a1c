"""Claims about speed, each measured beside a peer in one run. Ratios count, not seconds.

``make bench`` runs them all; ``python -m perf.scoring`` one.
"""
