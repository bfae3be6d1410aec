"""A server for people and programs: predictions, timelines, live streams and new classes over HTTP.

Its libraries come with the extra ``serve`` and are imported when a server starts: see :func:`videoswin.serve.run.serve`.
"""
