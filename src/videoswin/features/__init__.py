"""What a model sees, kept: features of clips and of long videos, computed once, and in the layouts that other tools read."""
