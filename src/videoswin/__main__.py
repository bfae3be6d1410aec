"""``python -m videoswin`` is the command ``videoswin``."""

import sys

from videoswin.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
