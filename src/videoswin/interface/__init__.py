"""What every model is to the rest of the package, Video Swin and the systems beside it alike."""
