"""Files that hold tensors, whoever wrote them: read as data, under limits, with nothing in them run.

A reader turns a file into a tree of plain values in which tensors are references to bytes of the file
(:class:`~.stored.StoredTensor`). What the tree is made of is bounded before any of those bytes are read; then the table
that holds the weights is chosen (:mod:`.choose`), and its tensors alone are read.

A new kind of file is one more reader: a function from an open file to such a tree, named in :mod:`.read`.
"""
