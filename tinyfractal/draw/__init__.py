"""Pictures, with Matplotlib: blocks and networks, graphs, curves, confusion.

Read `plot` first, which is what users call. `layout` says where the boxes of a block go, `sheet`
draws them, `confusion` counts which classes are taken for which.
"""
