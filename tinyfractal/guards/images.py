"""Images and kernels: do shapes, padding, windows and masks fit?"""
