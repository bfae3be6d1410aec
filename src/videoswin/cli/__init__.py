"""The command ``videoswin``: one file per verb. Nothing imports this package."""
