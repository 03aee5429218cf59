"""Labels and what each class counts: can a loss be computed from them?"""
