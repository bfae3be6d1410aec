"""Videos in, clips out: what may be opened, which frames, how they become what a model takes."""
