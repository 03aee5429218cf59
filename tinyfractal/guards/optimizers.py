"""Parameters, groups and gradients: what an optimizer could not move."""
