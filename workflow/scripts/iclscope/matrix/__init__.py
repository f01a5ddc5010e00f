"""How well candidates work: the score matrix, block by block, and the quality it gives."""
