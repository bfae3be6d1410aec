"""A folder of clips in, a trained checkpoint out."""
