"""Does a saved state fit? What is missing, unexpected, misshapen or no number."""
