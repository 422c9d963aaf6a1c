"""Attacks made on one model and classified by others."""
