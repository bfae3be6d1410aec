"""Segments of videos with labels, as other tools write and read them."""
