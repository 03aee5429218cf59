"""Guards: what cannot be computed with is refused here, in one line of a caller. Skip it at first.

Each function here looks at what a caller gave, lets it pass or raises an error that names function
and argument, what was expected and what came. What a single annotation can say (`Count`,
`Probability`) stands there and is checked by `check.checked`; here is what takes two arguments, or
a look inside. The rooms that follow call a guard in one line and then go on with their subject.

One file for each subject: `arrays` (matrix products, padding, cutting), `images` (convolution,
pooling, norms, joins), `losses` (labels and their weights), `modules` (weights that a module would
lose), `optimizers` (parameters and gradients), and `states` (does a saved state fit?).
"""
