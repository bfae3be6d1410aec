"""Generated motion: clips without end, with the place of everything that moves known in every frame."""
