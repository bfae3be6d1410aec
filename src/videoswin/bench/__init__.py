"""Time and memory of our model in its forms, and beside torchvision's where that is installed."""
