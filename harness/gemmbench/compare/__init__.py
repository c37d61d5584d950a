"""`gemmbench compare`: the algorithms of a convolution side by side, and where each one wins.

Three uses of the same race. Side by side it is a run over the convolutions of a suite, of which
stored results may be taken again. A sweep races a grid of shapes, point by point, and decides
after each round which points are worth measuring. Settings race every contender under several
fills, or with hot and cold caches, against itself in the same rounds.
"""
