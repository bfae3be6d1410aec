"""Which frames and places of a clip made an answer, and whether that is so."""
