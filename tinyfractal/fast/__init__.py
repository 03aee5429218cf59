"""The same functions, quicker. Delete this folder and nothing is missing."""
