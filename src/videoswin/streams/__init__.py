"""The model over time: frames as they come, answers as they can be given."""
