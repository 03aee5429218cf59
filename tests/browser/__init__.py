"""The library and its pages in a browser."""
