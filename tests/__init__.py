"""The tests mirror the package: tests/model/ checks src/videoswin/model/, and so on."""
