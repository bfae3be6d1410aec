"""Video that has not ended yet, and video that is long: one pass, frame by frame, with memory that does not grow."""
