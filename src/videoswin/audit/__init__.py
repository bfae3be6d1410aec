"""Clips looked at before a model is: copies, doubtful labels, and what makes a figure look too good"""
