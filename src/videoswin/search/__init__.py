"""Clips and moments that look like one at hand, by their features."""
